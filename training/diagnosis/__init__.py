"""Diagnosis: whether a failure wants better retrieval, more training, both, or another label."""
