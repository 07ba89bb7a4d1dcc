"""Thin routers, one file per OpenAI resource; decisions live in the use cases they call."""
