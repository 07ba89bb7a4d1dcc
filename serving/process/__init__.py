"""The processes of a gateway: who starts whom, who ends whom, and what the terminal shows of it."""
