"""Backups: one consistent copy of an installation's state, artifacts and passages, and its way back."""
