"""The losses of a training as a picture."""

from pathlib import Path

from training.tuning import history
from training.tuning.history import Log

_SMOOTH = 0.9


def draw_curves(path: Path, log: Log, title: str, kept: int) -> None:
    """Training loss and held-out loss by optimiser step, as PNG; ``kept`` is the step whose weights are the adapter.

    Raises ImportError where matplotlib is not installed.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    losses = history.points(log, "loss")
    axes.plot(*_columns(losses), color="#9ab4d8", linewidth=0.8, label="training, each step")
    axes.plot(*_columns(smoothed(losses)), color="#2b5c9e", linewidth=1.8, label="training, smoothed")
    if heldout := history.points(log, history.HELDOUT_LOSS):
        axes.plot(*_columns(heldout), color="#c2570c", marker="o", linewidth=1.8, label="held out")
    axes.axvline(kept, color="#555555", linestyle=":", linewidth=1, label=f"kept: step {kept}")
    axes.set(title=title, xlabel="optimiser step", ylabel="loss, nats")
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    figure.savefig(path, metadata={"Software": None})


def smoothed(points: history.Points) -> history.Points:
    """The exponential moving average, corrected for its start (Kingma and Ba, arXiv 1412.6980, section 3)."""
    result: history.Points = []
    average = 0.0
    for count, (step, value) in enumerate(points, start=1):
        average = _SMOOTH * average + (1 - _SMOOTH) * value
        result.append((step, average / (1 - _SMOOTH**count)))
    return result


def _columns(points: history.Points) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
