"""Logs, spans and the audit log of the gateway's processes: what is told, of whom, and of what never."""
