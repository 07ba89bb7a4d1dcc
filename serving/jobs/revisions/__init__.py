"""One module for each revision of the jobs' tables, oldest first."""
