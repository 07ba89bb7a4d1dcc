"""From candidate to stable: examination, shadow and canary, and what callers think of the answers."""
