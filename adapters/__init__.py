"""Adapter versions, aliases and rollout state, validation, storage, and the slot pool.

A library: it returns values and raises :class:`adapters.errors.AdapterError`; it records no metrics,
reads no environment variable and serves no HTTP.
"""
