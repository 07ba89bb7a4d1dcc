"""Recipes that make adapters, and the evaluation and gates that decide whether they are served."""
