"""Which of two versions is better, and how sure that is: statistics and verdicts. Pure."""
