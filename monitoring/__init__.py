"""The metric catalogue, and everything that watches a running system."""
