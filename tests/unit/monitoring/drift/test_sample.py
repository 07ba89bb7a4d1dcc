"""Bounded samples."""

import json
from dataclasses import replace

import numpy as np
import pytest

from monitoring.drift.errors import DimensionChanged
from monitoring.drift.sample import Sample, sampling_error
from monitoring.drift.types import Observation
from tests.drift_traffic import Traffic


def _filled(requests: list[Observation], capacity: int, *, text_length: int = 0, seed: int = 1) -> Sample:
    sample, rng = Sample(capacity, text_length=text_length), np.random.default_rng(seed)
    for place, request in enumerate(requests, start=1):
        sample.add(request, place, rng)
    return sample


def test_every_request_is_kept_with_the_same_probability() -> None:
    (request,) = Traffic(1).requests(1, embedding=None)
    kept = [row.place for seed in range(200) for row in _filled([request] * 400, 20, seed=seed).rows]

    assert len(kept) == 4_000
    # Standard errors: 1.8 of the mean of places, 0.8 % of the share of a half.
    assert np.mean(kept) == pytest.approx(200.5, abs=7)
    assert np.mean([place <= 200 for place in kept]) == pytest.approx(0.5, abs=0.03)
    assert sum(place <= 20 for place in kept) == pytest.approx(200, abs=50)


def test_the_sampling_error_is_nothing_where_all_are_kept_and_all_where_none_is() -> None:
    assert sampling_error(50, 50) == sampling_error(0, 0) == 0.0
    assert sampling_error(0, 10) == 1.0
    assert sampling_error(1_000, 1_001) < sampling_error(1_000, 100_000) < sampling_error(200, 100_000)
    assert sampling_error(200, 10_000) == pytest.approx(0.0951, abs=0.0002)


def test_a_share_is_within_the_stated_error() -> None:
    rng = np.random.default_rng(1)
    truth = rng.random(3_000) < 0.4
    shares = np.array([rng.choice(truth, 150, replace=False).mean() for _ in range(400)])

    assert np.mean(np.abs(shares - truth.mean()) > sampling_error(150, 3_000)) <= 0.05


def test_an_embedding_of_another_size_is_refused_and_not_counted() -> None:
    first, other = Traffic(1).requests(1)[0], Traffic(1, dimension=8).requests(1)[0]
    sample = _filled([first], 10)

    with pytest.raises(DimensionChanged, match="8 dimensions, those before it 24"):
        sample.add(other, 2, np.random.default_rng(1))
    assert (sample.seen, len(sample.rows)) == (1, 1)


@pytest.mark.parametrize("broken", [0.0, float("nan"), float("inf")])
def test_an_embedding_without_a_direction_is_none(broken: float) -> None:
    requests = Traffic(1).requests(3)
    requests[1] = replace(requests[1], embedding=np.full(24, broken, dtype=np.float32))
    sample = _filled(requests, 10)

    rows, vectors = sample.embedded()
    assert rows.tolist() == [0, 2]
    assert vectors.shape == (2, 24)


def test_vectors_are_kept_with_length_one_and_little_rounding() -> None:
    (request,) = Traffic(1).requests(1)
    assert request.embedding is not None
    sample = _filled([replace(request, embedding=request.embedding * 7)], 1)

    np.testing.assert_allclose(sample.embedded()[1][0], request.embedding, atol=5e-4)


def test_a_score_that_is_no_number_is_none() -> None:
    (request,) = Traffic(1).requests(1, retrieval_score=float("nan"))

    assert _filled([request], 1).rows[0].retrieval_score is None


def test_prompts_are_cut_and_forgotten_on_demand() -> None:
    (request,) = Traffic(1).requests(1, text="a long prompt")
    sample = _filled([request], 2, text_length=6)

    assert sample.rows[0].text == "a long"
    assert _filled([request], 2).rows[0].text is None
    sample.without_texts()
    sample.add(request, 2, np.random.default_rng(1))
    assert [row.text for row in sample.rows] == [None, None]


def test_a_sample_comes_back_from_its_state() -> None:
    requests = Traffic(2).requests(40)
    requests[3] = replace(requests[3], embedding=None)
    sample = _filled(requests, 50, text_length=9)

    again = Sample.from_json(json.loads(json.dumps(sample.to_json())), 50, np.random.default_rng(1), text_length=9)

    assert again.rows == sample.rows
    assert again.summary() == sample.summary()
    assert again.embedded()[0].tolist() == sample.embedded()[0].tolist()
    np.testing.assert_array_equal(again.embedded()[1], sample.embedded()[1])


def test_an_empty_sample_comes_back_from_its_state() -> None:
    again = Sample.from_json(json.loads(json.dumps(Sample(5).to_json())), 5, np.random.default_rng(1))

    assert (again.seen, again.rows, len(again.embedded()[1])) == (0, [], 0)


def test_a_smaller_sample_keeps_some_rows_with_their_own_vectors() -> None:
    sample = _filled(Traffic(2).requests(40), 40)

    again = Sample.from_json(sample.to_json(), 10, np.random.default_rng(1))

    assert (again.seen, len(again.rows)) == (40, 10)
    whole = {row.place: vector.tolist() for row, vector in zip(sample.rows, sample.embedded()[1], strict=True)}
    kept = {row.place: vector.tolist() for row, vector in zip(again.rows, again.embedded()[1], strict=True)}
    assert kept == {place: whole[place] for place in kept}


def test_a_larger_sample_does_not_take_later_requests_for_more_than_their_share() -> None:
    sample = _filled(Traffic(2).requests(60), 20)
    again, rng = Sample.from_json(sample.to_json(), 40, np.random.default_rng(1)), np.random.default_rng(2)
    for request in Traffic(3).requests(10):
        again.add(request, 61, rng)

    assert (again.seen, len(again.rows)) == (70, 20)
