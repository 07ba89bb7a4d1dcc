"""Neighbours, far prompts and crowded neighbourhoods."""

import numpy as np
import pytest

from monitoring.drift.likelihood import log_likelihood_ratio
from monitoring.drift.neighbours import Neighbours, distances_to, nearest
from monitoring.drift.permutation import permutation_test
from monitoring.drift.topics import LARGEST, CrowdedNeighbourhoods, FarPrompts
from monitoring.drift.types import IntArray, Labels, Vectors
from tests.drift_traffic import NEW, Traffic

_REFERENCE, _LIVE = 400, 100


def _pooled(traffic: Traffic, *, share: float, topic: int) -> tuple[Vectors, Labels, IntArray]:
    """Vectors of both windows, which are live, and all topics; in an order without meaning."""
    more = round(_LIVE * share)
    topics = np.array([*traffic.usual(_REFERENCE + _LIVE - more), *([topic] * more)])
    order = traffic.rng.permutation(len(topics))
    labels = (np.arange(len(topics)) >= _REFERENCE)[order]
    return traffic.vectors(topics.tolist())[order], labels, topics[order]


def _both(vectors: Vectors, live: int) -> tuple[FarPrompts | CrowdedNeighbourhoods, ...]:
    graph = nearest(vectors, LARGEST)
    return FarPrompts(graph, 3), CrowdedNeighbourhoods(vectors, graph, live)


def _far_by_definition(graph: Neighbours, neighbour: int, live: Labels) -> float:
    distances = np.empty(len(live))
    for row in range(len(live)):
        known = [column for column, near in enumerate(graph.places[:, row]) if not live[near]]
        column = known[neighbour - 1] if len(known) >= neighbour else len(graph.places) - 1
        distances[row] = graph.distances[column, row]
    best = 0.0
    for share in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
        limit = np.sort(distances[~live])[-max(round(share * int((~live).sum())), 1)]
        inside = distances >= limit
        ratio = log_likelihood_ratio((inside & live).sum(), inside.sum(), int(live.sum()), len(live))
        best = max(best, float(ratio))
    return best


def _crowd_by_definition(graph: Neighbours, live: Labels) -> float:
    ratios = [
        float(log_likelihood_ratio(live[graph.places[:size, row]].sum() + live[row], size + 1, live.sum(), len(live)))
        for size in (6, 12, 24, 48)
        for row in range(len(live))
    ]
    return max(ratios)


def test_the_nearest_are_those_of_all_distances_in_order() -> None:
    vectors = Traffic(1).vectors(Traffic(1).usual(700))
    away = 1 - vectors @ vectors.T
    np.fill_diagonal(away, np.inf)

    found = nearest(vectors, 5)

    assert found.places.shape == found.distances.shape == (5, 700)
    np.testing.assert_allclose(found.distances.T, np.sort(away, axis=1)[:, :5], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(away, found.places.T, axis=1), found.distances.T, atol=1e-5)


def test_few_rows_have_fewer_neighbours() -> None:
    assert nearest(Traffic(1).vectors([0, 1, 2]), 48).places.shape == (2, 3)


def test_the_distance_from_the_reference_is_that_of_the_nearest_but_so_many() -> None:
    reference = np.array([[1, 0], [0, 1], [-1, 0]], dtype=np.float32)
    here = np.array([[1, 0]], dtype=np.float32)

    assert [float(distances_to(reference, here, k)[0]) for k in (1, 2, 3, 9)] == pytest.approx([0, 1, 2, 2])


def test_many_permutations_at_once_come_to_what_the_definition_gives_for_each() -> None:
    vectors, labels, _ = _pooled(Traffic(2, spread=0.8), share=0.6, topic=NEW)
    graph = nearest(vectors, LARGEST)
    several = np.stack([labels, *np.random.default_rng(1).permuted(np.tile(labels, (4, 1)), axis=1)])

    for neighbour in (1, 3, 16):
        expected = [_far_by_definition(graph, neighbour, row) for row in several]
        assert FarPrompts(graph, neighbour)(several).tolist() == pytest.approx(expected)
    expected = [_crowd_by_definition(graph, row) for row in several]
    assert CrowdedNeighbourhoods(vectors, graph, _LIVE)(several).tolist() == pytest.approx(expected)


def test_a_topic_that_is_larger_than_any_neighbourhood_is_shown_whole() -> None:
    vectors, labels, topics = _pooled(Traffic(8), share=0.9, topic=NEW)
    crowded = CrowdedNeighbourhoods(vectors, nearest(vectors, LARGEST), _LIVE)

    zone = crowded.zone(labels)

    assert zone.excess == pytest.approx(0.9, abs=0.05)
    assert set(np.flatnonzero(topics == NEW).tolist()) <= set(zone.live.tolist())


def test_a_new_topic_is_found_by_its_distance_and_by_its_crowd() -> None:
    vectors, labels, topics = _pooled(Traffic(3), share=0.1, topic=NEW)
    for statistic in _both(vectors, _LIVE):
        assert permutation_test(statistic, labels, 399, np.random.default_rng(1)).p_value <= 0.05
        zone = statistic.zone(labels)
        assert zone.excess == pytest.approx(0.1, abs=0.06)
        assert np.mean(topics[zone.live] == NEW) > 0.7


def test_prompts_that_are_like_nothing_and_not_like_each_other_are_found_by_their_distance() -> None:
    traffic = Traffic(4, dimension=48)
    vectors, labels, _ = _pooled(traffic, share=0.0, topic=0)
    strange = np.flatnonzero(labels)[:8]
    scattered = traffic.rng.standard_normal((8, 48))
    vectors[strange] = scattered / np.linalg.norm(scattered, axis=1, keepdims=True)

    far = FarPrompts(nearest(vectors, LARGEST), 3)

    assert permutation_test(far, labels, 399, np.random.default_rng(1)).p_value <= 0.01
    assert set(strange.tolist()) <= set(far.zone(labels).live.tolist())


def test_a_known_topic_that_grows_is_found_by_its_crowd_where_it_lies() -> None:
    vectors, labels, topics = _pooled(Traffic(5), share=0.3, topic=4)
    crowded = CrowdedNeighbourhoods(vectors, nearest(vectors, LARGEST), _LIVE)

    assert permutation_test(crowded, labels, 399, np.random.default_rng(1)).p_value <= 0.01
    zone = crowded.zone(labels)
    assert np.mean(topics[zone.live] == 4) > 0.8
    assert zone.live_share > zone.reference_share


def test_equal_windows_are_found_different_no_more_often_than_they_say() -> None:
    rng = np.random.default_rng(6)
    found = {"far": 0, "crowded": 0}
    for seed in range(60):
        vectors, labels, _ = _pooled(Traffic(seed), share=0.0, topic=0)
        graph = nearest(vectors, LARGEST)
        found["far"] += permutation_test(FarPrompts(graph, 3), labels, 199, rng).p_value <= 0.1
        crowded = CrowdedNeighbourhoods(vectors, graph, _LIVE)
        found["crowded"] += permutation_test(crowded, labels, 199, rng).p_value <= 0.1

    # 60 draws with probability 0.1 come to more than 14 once in a thousand times.
    assert max(found.values()) <= 14


def test_many_copies_of_one_prompt_are_no_obstacle() -> None:
    vectors = np.tile(Traffic(7).vectors([0]), (120, 1))
    labels = np.arange(120) >= 80
    for statistic in _both(vectors, 40):
        assert np.isfinite(statistic(labels[None, :])).all()
        assert 0 <= statistic.zone(labels).excess <= 1
