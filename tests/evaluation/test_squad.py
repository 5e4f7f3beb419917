"""Exact match and F1 as SQuAD's script gives them, by hand."""

from __future__ import annotations

import pytest

from art.evaluation.squad import exact_match, f1, normalized


def test_case_punctuation_articles_and_spaces_do_not_count() -> None:
    assert normalized("  The U.S.  of A! ") == "us of"
    assert normalized("an-the\tThesis") == "anthe thesis"
    assert exact_match("The Beatles", ["beatles!"]) and exact_match("3.5", ["4", "35"])
    assert not exact_match("Beatles band", ["the Beatles"])


def test_an_accent_is_the_same_as_one_character_or_as_two() -> None:
    one, two = "Z\u00fcrich", "Zu\u0308rich"
    assert exact_match(two, [one]) and exact_match(one, [two]) and not exact_match("Zurich", [one])


@pytest.mark.parametrize(
    ("given", "accepted", "value"),
    [
        ("the stone bridge", ["a bridge"], 2 / 3),
        ("moon moon river", ["moon river river", "sun"], 2 / 3),
        ("sun", ["moon", "the sun"], 1.0),
        ("", ["moon"], 0.0),
    ],
)
def test_f1_is_the_best_over_the_accepted_answers(given, accepted, value) -> None:
    assert f1(given, accepted) == pytest.approx(value)
