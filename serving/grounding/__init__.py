"""Retrieval in the request path: passages into prompts, citations out of answers, and what happens without either."""
