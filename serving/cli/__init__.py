"""The ``loraplex`` command."""
