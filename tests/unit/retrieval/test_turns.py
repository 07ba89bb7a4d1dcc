"""Who goes first where only one can go."""

import threading
import time
from collections.abc import Callable

import pytest

from retrieval.turns import Turns, in_turns

PATIENCE_S = 20.0


def waiting(turns: Turns, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while turns.waiting() != count:
        assert time.monotonic() < deadline


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_an_urgent_one_goes_before_a_patient_one_that_came_first() -> None:
    turns, order = Turns(), list[str]()

    def go(name: str, *, urgent: bool) -> None:
        with turns.turn(urgent=urgent):
            order.append(name)

    threads = []
    with turns.turn(urgent=False):
        for place, (name, urgent) in enumerate([("p1", False), ("p2", False), ("u1", True), ("u2", True)]):
            threads.append(in_thread(lambda name=name, urgent=urgent: go(name, urgent=urgent)))  # type: ignore[misc]
            waiting(turns, place + 1)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert order == ["u1", "u2", "p1", "p2"]


def test_urgent_ones_without_end_leave_patient_ones_a_quarter_of_the_time() -> None:
    now = [0.0]
    turns, urgent, patient = Turns(lambda: now[0]), [threading.Event() for _ in range(3)], threading.Event()
    with turns.turn(urgent=False):
        now[0] = 1.0
    with turns.turn(urgent=True):
        turns._urgent.extend(urgent)
        turns._patient.append(patient)
    now[0] = 3.9
    turns._hand_on()
    assert [one.is_set() for one in (*urgent, patient)] == [True, True, False, False]
    now[0] = 4.0
    turns._hand_on()
    assert [one.is_set() for one in (*urgent, patient)] == [True, True, False, True]


def test_a_question_is_answered_between_two_slices_of_a_document() -> None:
    turns, order, threads = Turns(), list[str](), list[threading.Thread]()

    def answer(texts: list[str]) -> list[str]:
        order.extend(texts)
        return texts

    def question() -> None:
        in_turns(answer, ["?"], 2, turns, urgent=True)

    def embed(texts: list[str]) -> list[str]:
        order.append("".join(texts))
        if not threads:
            threads.append(in_thread(question))
            waiting(turns, 1)
        return [text.upper() for text in texts]

    assert in_turns(embed, ["a", "b", "c", "d", "e"], 2, turns, urgent=False) == ["A", "B", "C", "D", "E"]
    threads[0].join(PATIENCE_S)
    assert order == ["ab", "?", "cd", "e"]


def test_only_one_has_a_turn_at_a_time() -> None:
    turns, inside, seen = Turns(), list[int](), list[int]()

    def work(number: int) -> None:
        for _ in range(300):
            with turns.turn(urgent=number % 2 == 0):
                inside.append(number)
                seen.append(len(inside))
                inside.remove(number)

    threads = [in_thread(lambda number=number: work(number)) for number in range(6)]  # type: ignore[misc]
    for thread in threads:
        thread.join(PATIENCE_S)
    assert seen == [1] * 1_800
    assert turns.waiting() == 0


def test_a_turn_that_fails_is_over() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.turn(urgent=False):
        raise ZeroDivisionError
    with turns.turn(urgent=False):
        pass


def test_texts_of_like_length_go_together_and_the_results_keep_the_order() -> None:
    slices: list[list[str]] = []

    def lengths(texts: list[str]) -> list[int]:
        slices.append(texts)
        return [len(text) for text in texts]

    assert in_turns(lengths, ["dddd", "a", "ccc", "bb", ""], 2, Turns(), urgent=True) == [4, 1, 3, 2, 0]
    assert slices == [["", "a"], ["bb", "ccc"], ["dddd"]]
    assert in_turns(lengths, [], 2, Turns(), urgent=True) == []


def test_one_that_gives_up_waiting_leaves_the_queue() -> None:
    turns, gone = Turns(), threading.Event()
    with turns.turn(urgent=True):
        turns._patient.append(gone)
        turns._leave(turns._patient, gone)
        assert turns.waiting() == 0
    assert not gone.is_set()
    with turns.turn(urgent=False):
        pass


def test_one_that_gives_up_just_as_it_is_called_hands_its_turn_on() -> None:
    turns, gone = Turns(), threading.Event()
    with turns.turn(urgent=True):
        turns._patient.append(gone)
    assert gone.is_set()
    turns._leave(turns._patient, gone)
    with turns.turn(urgent=False):
        pass
