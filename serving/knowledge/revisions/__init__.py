"""One module for each revision of the knowledge tables, oldest first."""
