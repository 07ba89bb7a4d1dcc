"""``loraplex top``: what the gateway does now, in the terminal."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.client import DEFAULT_URL, REFUSED, Failed, fail
from serving.cli.command import Json, Url, run

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from serving.cli.keyboard import Read
    from serving.cli.live_frame import Frame
    from serving.cli.live_source import Poller, Seen

_TICK_S = 0.2
"""How often keys and the newest frame are looked at, in seconds."""
_REDRAW_S = 1.0
"""How often the screen is drawn again where nothing is new, in seconds."""
_WINDOW_S = 30.0
"""Time that rates, shares and quantiles are over, in seconds."""
_SORTS = ("traffic", "ttft", "errors", "quality", "drift", "name")

Interval = Annotated[float, typer.Option("--interval", min=0.1, max=3600, help="Seconds between two looks.")]
Sort = Annotated[str, typer.Option("--sort", help=f"Order of the versions: {', '.join(_SORTS)}.")]
Once = Annotated[bool, typer.Option("--once", help="Look twice, one interval apart, print one frame, and end.")]


def top(
    *,
    interval: Interval = 2.0,
    sort: Sort = "traffic",
    once: Once = False,
    url: Url = DEFAULT_URL,
    as_json: Json = False,
) -> None:
    """Show live what the gateway does: tasks and versions with their traffic, latency, errors, quality and drift, what
    is loaded where, and the last changes.

    Keys: q quits, space pauses, s sorts by the next column. --json prints one frame, as --once does. A gateway that
    goes away is waited for. An administrator's API key comes from the environment variable LORAPLEX_API_KEY.
    """
    if sort not in _SORTS:
        raise typer.BadParameter(f"choose one of {', '.join(_SORTS)}", param_hint="--sort")
    if once or as_json:
        _print_once(url, interval, sort, as_json=as_json)
        return
    if not sys.stdout.isatty():
        raise typer.BadParameter("the output is no terminal: use --once or --json")
    try:
        _watch(url, interval, sort)
    except Failed as error:
        fail(error, as_json=False)


def _print_once(url: str, interval_s: float, sort: str, *, as_json: bool) -> None:
    from serving.cli.live_source import Looks
    from serving.cli.live_view import Look, render_frame
    from serving.cli.printing import console

    found: list[Frame] = []

    def look() -> object:
        # The answers themselves take their time, too.
        looks = Looks(url, interval_s * 2 + 60.0)
        looks.take()
        time.sleep(interval_s)
        found.append(looks.take().in_order(sort))
        return found[0].to_json()

    def show(_: object) -> None:
        out = console()
        out.print(render_frame(found[0], out.width, look=Look(sort)))

    run(look, show, as_json=as_json)


def _watch(url: str, interval_s: float, sort: str) -> None:
    from rich.live import Live

    from serving.cli.keyboard import keyboard, no_keys
    from serving.cli.live_source import Looks, Poller
    from serving.cli.printing import console

    out = console()
    screen = Screen(url, sort)
    poller = Poller(Looks(url, max(_WINDOW_S, interval_s * 1.5)).take, interval_s)
    poller.start()
    try:
        with keyboard() as keys, Live(console=out, screen=True, auto_refresh=False) as live:
            screen.listens = keys is not None
            _keep_drawing(screen, poller, keys or no_keys, live)
    except (KeyboardInterrupt, EOFError):
        pass
    finally:
        poller.stop()


def _keep_drawing(screen: "Screen", poller: "Poller", read: "Read", live: "Live") -> None:
    """Until somebody quits. Raises Failed where the first look is refused: nothing would change by waiting."""
    drawn: object = None
    out = live.console
    while True:
        seen = poller.seen
        if seen.frame is None and seen.failed is not None and seen.failed.exit_code == REFUSED:
            raise seen.failed
        screen.see(seen)
        now = (screen.state, out.size, int(time.monotonic() / _REDRAW_S))
        if now != drawn:
            live.update(screen.render(out.width, out.height), refresh=True)
            drawn = now
        for key in read(_TICK_S):
            if not screen.press(key):
                return


class Screen:
    """What is shown, and what keys change of it."""

    def __init__(self, url: str, sort: str) -> None:
        self._url = url
        self.sort = sort
        self.paused = False
        self.listens = False
        """Whether there is a keyboard."""
        self._seen: Seen | None = None

    @property
    def state(self) -> object:
        """Equal as long as the same is to be shown."""
        return None if self._seen is None else (self._seen.number, self._seen.failed), self.sort, self.paused

    def see(self, seen: "Seen") -> None:
        """Show ``seen`` from now on, unless paused."""
        if not self.paused:
            self._seen = seen

    def press(self, key: str) -> bool:
        """What a key does; False: quit. Others do nothing."""
        match key:
            case "q" | "Q":
                return False
            case " ":
                self.paused = not self.paused
            case "s":
                from serving.cli.live_frame import next_sort

                self.sort = next_sort(self.sort)
        return True

    def render(self, width: int, height: int) -> "RenderableType":
        """The screen of so many cells and lines."""
        from serving.cli.live_view import Look, render_frame, render_waiting

        problem = "" if self._seen is None or self._seen.failed is None else str(self._seen.failed)
        if self._seen is None or self._seen.frame is None:
            return render_waiting(self._url, problem)
        look = Look(self.sort, self.paused, problem, keys=self.listens)
        return render_frame(self._seen.frame, width, height, look)
