"""Make the release-notes data: a commit subject in, one friendly sentence for users out.

    python -m examples.datasets.release_notes

Held-out commits are filled from words that occur in no training commit.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from examples.datasets.rows import EXAMPLES, Row, chat_row, write_rows

FOLDER = EXAMPLES / "release-notes"
TRAIN_ROWS = 720
HELDOUT_ROWS = 120
SEED = 7


class CommitWriter:
    """Puts commits and notes together from the words of one split."""

    def __init__(self, phrases: Mapping[str, Any], *, heldout: bool, seed: int) -> None:
        self._labels: Mapping[str, str] = phrases["labels"]
        self._scopes: Sequence[str] = phrases["scopes"]
        self._forms = [(kind, *form) for kind, forms in phrases["forms"].items() for form in forms]
        self._slots = {name: _split(values, heldout=heldout) for name, values in phrases["slots"].items()}
        self._chance = random.Random(seed)  # noqa: S311  (data, not secrets)

    def rows(self, count: int) -> list[Row]:
        """``count`` different commits, spread evenly over the forms."""
        made: dict[str, Row] = {}
        while len(made) < count:
            kind, commit, note = self._forms[len(made) % len(self._forms)]
            words = {name: self._chance.choice(values) for name, values in self._slots.items()}
            scope = self._chance.choice(self._scopes)
            subject = f"{kind}({scope}): {commit.format(**words)}"
            label = self._labels[kind].format(Scope=scope.capitalize())
            made.setdefault(subject, chat_row(subject, f"{label} {note.format(**words)}"))
        rows = list(made.values())
        self._chance.shuffle(rows)
        return rows


def _split(values: Sequence[str], *, heldout: bool) -> Sequence[str]:
    kept_back = max(1, len(values) // 5)
    return values[-kept_back:] if heldout else values[:-kept_back]


def main() -> None:
    """Write both files."""
    phrases = yaml.safe_load((FOLDER / "phrases.yaml").read_text(encoding="utf-8"))
    for split, count in (("train", TRAIN_ROWS), ("heldout", HELDOUT_ROWS)):
        writer = CommitWriter(phrases, heldout=split == "heldout", seed=SEED)
        write_rows(FOLDER / f"{split}-v1.jsonl", writer.rows(count))


if __name__ == "__main__":
    main()
