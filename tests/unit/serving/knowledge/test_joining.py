"""Several lists of passages as one."""

from serving.knowledge.joining import joined
from tests.unit.serving.passages import found


def test_lists_take_turns_and_each_passage_stays_once() -> None:
    first, second, third = (found(text, file_id=text) for text in ("a", "b", "c"))
    assert joined([[first, second], [third, first]]) == [first, third, second]
    assert joined([[first], []]) == [first]
    assert joined([]) == []


def test_one_list_stays_as_it_is() -> None:
    passages = [found("a", number=number, score=score) for number, score in enumerate((0.2, 0.9, 0.5))]
    assert joined([passages]) == passages
