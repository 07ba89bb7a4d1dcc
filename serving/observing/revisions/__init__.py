"""One module for each revision of the tables of drift and output quality, oldest first."""
