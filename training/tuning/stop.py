"""Asking a training to stop, from a signal handler or from another thread."""

import threading


class Stop:
    """Asked once, asked for good."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ask(self) -> None:
        """Have the training write a checkpoint and end, at the next step."""
        self._event.set()

    @property
    def is_asked(self) -> bool:
        """Whether somebody asked."""
        return self._event.is_set()
