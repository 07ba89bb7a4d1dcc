"""Server-sent events from raw bytes, many at a time."""

from collections.abc import Iterator


class SseSplitter:
    """Cuts a byte stream into the data of its events.

    Comments, event names and ids are dropped: OpenAI's streams repeat what matters inside the data.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The data of every event that ``data`` completes."""
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        *events, self._rest = (self._rest + data).split(b"\n\n")
        for event in events:
            if event.startswith(b"data: ") and b"\n" not in event:
                yield event[6:]
            else:
                yield from self._slowly(event)

    def _slowly(self, event: bytes) -> Iterator[bytes]:
        lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
        if lines:
            yield b"\n".join(lines)
