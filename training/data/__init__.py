"""The rows that an adapter learns from: reading them, checking them, encoding them."""
