"""What can be said of an answer without knowing the right one, and one score of a task's version from it. Pure."""
