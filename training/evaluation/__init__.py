"""Suites: what an adapter is measured on, against any OpenAI-compatible endpoint."""
