"""What can go wrong in the calculator."""


class CannotSize(Exception):
    """The numbers cannot be computed from what is given. The message is one sentence without its full stop."""
