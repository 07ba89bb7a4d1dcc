"""Which rows of a batch share a sequence. Pure.

Rows of one batch are laid into sequences of about equal length, so that little is padded; what a batch teaches stays
the same, because the mask lets no row see another and positions start anew with each. (Packing over the borders of
batches, as it is usually done, changes how many rows an optimiser step sees.)
"""

import heapq
from collections.abc import Sequence

_ROWS_PER_SEQUENCE = 4
# The length at which attention, whose cost grows with the square, costs about as much as everything else together.
_ATTENTION_LENGTH = 1000.0


def pack(lengths: Sequence[int], max_length: int) -> list[list[int]]:
    """Positions in ``lengths``, sequence by sequence; every sequence keeps to ``max_length`` if its rows do.

    Of all numbers of sequences the one that costs least is taken; for each, the longest row goes next into the emptiest
    sequence (Graham, Bounds on Multiprocessing Timing Anomalies, 1969).
    """
    count = len(lengths)
    best = [[position] for position in range(count)]
    longest = max(lengths)
    cheapest = _cost(count, longest)
    for sequences in range(-(-count // _ROWS_PER_SEQUENCE), count):
        plan, width = _spread(lengths, sequences)
        if width <= max(max_length, longest) and _cost(sequences, width) < cheapest:
            best, cheapest = plan, _cost(sequences, width)
    return best


def _cost(sequences: int, width: int) -> float:
    return sequences * width * (1 + width / _ATTENTION_LENGTH)


def _spread(lengths: Sequence[int], sequences: int) -> tuple[list[list[int]], int]:
    plan: list[list[int]] = [[] for _ in range(sequences)]
    room = [(0, index) for index in range(sequences)]
    for position in sorted(range(len(lengths)), key=lambda position: (-lengths[position], position)):
        filled, index = heapq.heappop(room)
        plan[index].append(position)
        heapq.heappush(room, (filled + lengths[position], index))
    return plan, max(filled for filled, _ in room)
