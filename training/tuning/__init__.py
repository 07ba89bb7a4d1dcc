"""Recipes that make adapters out of rows."""
