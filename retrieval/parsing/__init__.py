"""Files to text with its structure: one parser for each kind of file."""
