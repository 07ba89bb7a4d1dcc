"""Judgments on rows whose structure is sound: each module looks for one kind of trouble."""
