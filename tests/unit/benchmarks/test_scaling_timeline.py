"""What the judge of autoscaling reads and finds."""

from benchmarks.scaling_timeline import Moment, changes, first_seen, read_metrics, unprepared, wanted

_SCRAPE = """
# TYPE loraplex_requests_total counter
loraplex_requests_total{replica="replica-0",task="a",status="ok"} 5
loraplex_requests_total{replica="replica-0",task="b",status="ok"} 2
loraplex_requests_total{replica="replica-1",task="a",status="ok"} 1
# TYPE loraplex_adapter_resident gauge
loraplex_adapter_resident{replica="replica-0",adapter="a@1",tier="slot",status="ready"} 1
loraplex_adapter_resident{replica="replica-1",adapter="a@1",tier="store",status="loading"} 1
loraplex_adapter_resident{replica="replica-2",adapter="a@1",tier="slot",status="ready"} 1
"""


def _moment(at: float, answered: dict[str, int], held: dict[str, set[str]], states: tuple[str, ...] = ()) -> Moment:
    holds = {name: frozenset(versions) for name, versions in held.items()}
    return Moment(at, {str(number): state for number, state in enumerate(states)}, answered, holds)


def test_a_scrape_tells_who_answered_and_who_holds_what() -> None:
    answered, held = read_metrics(_SCRAPE)

    assert answered == {"replica-0": 7, "replica-1": 1}
    assert held == {"replica-0": {"a@1"}, "replica-2": {"a@1"}}


def test_a_replica_that_answers_without_the_adapter_is_found() -> None:
    answered, held = read_metrics(_SCRAPE)
    moments = [Moment(1.5, {}, answered, held), Moment(2.0, {}, {"replica-1": 0}, {})]

    assert unprepared(moments, "a@1") == ["after 1.5 s replica-1 had answered 1 requests without a@1"]


def test_the_first_time_of_each_is_told_by_replica() -> None:
    moments = [
        _moment(0.0, {"replica-0": 0}, {"replica-0": {"a@1"}}),
        _moment(1.0, {"replica-0": 3}, {"replica-0": {"a@1"}, "replica-1": {"a@1"}}),
    ]

    assert first_seen(moments, "a@1") == {
        "replica-0": {"holds_s": 0.0, "answers_s": 1.0},
        "replica-1": {"holds_s": 1.0, "answers_s": None},
    }


def test_only_changes_of_the_states_are_told() -> None:
    moments = [
        _moment(0.0, {}, {}, ("RUNNING",)),
        _moment(1.0, {}, {}, ("RUNNING",)),
        _moment(2.0, {}, {}, ("RUNNING", "STARTING")),
    ]

    assert changes(moments) == [
        {"at_s": 0.0, "replicas": {"RUNNING": 1}},
        {"at_s": 2.0, "replicas": {"RUNNING": 1, "STARTING": 1}},
    ]
    assert moments[-1].running == 1


def test_an_autoscaler_rounds_up_and_keeps_one() -> None:
    assert [wanted(value, 4) for value in (0, 4, 4.1, 12)] == [1, 1, 2, 3]
