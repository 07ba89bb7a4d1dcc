"""``loraplex size``: how much memory and how many GPUs a model, its adapters and its traffic take. Pure arithmetic over
what a checkpoint says of itself; docs/sizing.md has the formulas.
"""
