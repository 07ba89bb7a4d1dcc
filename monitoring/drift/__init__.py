"""Whether the requests of a task still are what they were: a reference window against a live one. Pure.

``options`` can be read without numpy; everything else computes with it.
"""
