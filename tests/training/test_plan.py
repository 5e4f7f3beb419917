"""What the plan makes of the questions."""

from __future__ import annotations

from collections.abc import Iterator

from art.data.formats import Question
from art.training.selection import evaluation_fingerprint


class Backwards(frozenset):
    """A set whose order is another, as in another process."""

    def __iter__(self) -> Iterator[str]:
        return iter(reversed(list(super().__iter__())))


def test_the_fingerprint_of_the_questions_does_not_depend_on_the_order_of_a_set() -> None:
    ids = ["p1", "p2", "p3"]
    one, other = (
        [Question("a", "who ?", ("x",), positive_passage_ids=kind(ids))]
        for kind in (frozenset, Backwards)
    )
    assert list(one[0].positive_passage_ids) != list(other[0].positive_passage_ids)
    assert evaluation_fingerprint(one, None) == evaluation_fingerprint(other, None)


def test_the_fingerprint_of_the_questions_covers_every_label() -> None:
    question = Question("a", "who ?", ("x",), frozenset({"p1"}))
    others = [
        Question("b", "who ?", ("x",), frozenset({"p1"})),
        Question("a", "how ?", ("x",), frozenset({"p1"})),
        Question("a", "who ?", ("y",), frozenset({"p1"})),
        Question("a", "who ?", ("x",), frozenset({"p2"})),
    ]
    found = {evaluation_fingerprint([one], None) for one in (question, *others)}
    found.add(evaluation_fingerprint([question], {"a": {"p1": 1}}))
    assert len(found) == 6
