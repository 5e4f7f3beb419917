"""Each filter finds its fault, and no other text is rejected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from art.asking import filters
from art.asking.asker import AskedQuestion
from art.asking.filters import TextFilter, repetitions
from art.asking.kinds import QUESTION_KINDS
from art.data.formats import Passage

PASSAGE = Passage(
    "p1",
    "Moon bridge",
    "The stone bridge was built by the engineers of the northern valley in the winter of 1804, and "
    "it is not the only one for which they were paid with silver that came from the river.",
)
PROMPT = "Passage: {passage} . Please write a question based on this passage. Question:"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Who paid for the bridge near the river?", None),
        ("what was the stone bridge made of", None),
        ("Is 月 a word for the moon?", None),  # one foreign letter
        ("When was die Brücke built?", None),
        ("", filters.EMPTY),
        ("the bridge", filters.TOO_SHORT),
        ("Write a question based on stone bridges", filters.LEFTOVERS),
        ("Passage: The stone bridge is old", filters.LEFTOVERS),
        ("What is it? Question: who built it?", filters.LEFTOVERS),
        ("кто построил каменный мост?", filters.OTHER_LANGUAGE),
        ("Wer hat die Brücke für den Fluss und das Tal gebaut?", filters.OTHER_LANGUAGE),
        ("Why did so many die for the van?", None),  # Dutch, by two of its words
        ("built by the engineers of the northern valley", filters.COPIED),
        ("The stone bridge was built by the engineers?", filters.COPIED),
    ],
)
def test_the_text_shows(text: str, fault: str | None) -> None:
    wanted = [QUESTION_KINDS["question"]]
    found = TextFilter(wanted, {"question": PROMPT})
    assert found.fault(AskedQuestion("p1", "question", text, False), PASSAGE) == fault
    cut = found.fault(AskedQuestion("p1", "question", text, True), PASSAGE)
    assert cut == (filters.CUT_OFF if text else filters.EMPTY)


GERMAN = Passage(
    "p2",
    "",
    "Die Brücke wurde 1804 von den Ingenieuren des nördlichen Tals gebaut, und sie ist nicht die "
    "einzige, für die sie mit Silber aus dem Fluss bezahlt wurden.",
)
FRENCH = Passage(
    "p3",
    "",
    "Le pont de pierre a été construit par les ingénieurs de la vallée et ce n'est pas le seul.",
)


@pytest.mark.parametrize(
    ("passage", "text", "is_other"),
    [
        (GERMAN, "Who built it in 1804?", True),
        (GERMAN, "Who was the engineer?", True),
        (GERMAN, "Wie heißt der Fluss in der Nähe von Paris?", False),
        (Passage("p5", "", "Gutenberg druckte mit Lettern auf Papier."), "What did he do?", True),
        (FRENCH, "When was the bridge built?", True),
        (FRENCH, "Combien de ponts y a-t-il dans la vallée ?", False),  # some words are Spanish too
        (Passage("p4", "", "12 804 2019 €"), "What was the total in 2019?", False),
    ],
)
def test_short_questions_show_their_language(passage: Passage, text: str, is_other: bool) -> None:
    found = TextFilter([QUESTION_KINDS["question"]], {"question": PROMPT})
    asked = AskedQuestion(passage.passage_id, "question", text, False)
    assert found.fault(asked, passage) == (filters.OTHER_LANGUAGE if is_other else None)


def test_keywords_may_be_words_of_the_passage() -> None:
    found = TextFilter([QUESTION_KINDS["keywords"]], {"keywords": PROMPT})
    asked = AskedQuestion("p1", "keywords", "engineers of the northern valley", False)
    assert found.fault(asked, PASSAGE) is None


def test_what_repeats() -> None:
    texts = [
        "who built the old stone bridge of the valley",
        "Who built the old stone bridge of the valley?",
        "who built the old stone bridge of this valley",
        "why is the moon so bright at night",
        "what is the moon",
    ]
    assert repetitions(texts, ["What is the moon?"]) == [
        None,
        filters.DUPLICATE,
        filters.NEAR_DUPLICATE,
        None,
        filters.COPY_OF_EXAMPLE,
    ]


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=7), max_size=12))
def test_all_that_is_alike_is_found_though_few_are_compared(texts: list[list[str]]) -> None:
    kept: list[set[str]] = []
    expected = []
    for words in map(set, texts):
        alike = any(len(words & other) / len(words | other) >= 0.8 for other in kept)
        expected.append(alike)
        if not alike:
            kept.append(words)
    found = repetitions([" ".join(words) for words in texts], [])
    assert [one is not None for one in found] == expected
