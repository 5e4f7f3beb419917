"""A diagnosis while it goes on: lines in a pipe, a table drawn in its place in a terminal."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tqdm import tqdm

from art.diagnosis.judging import Agreement
from art.diagnosis.watching import Estimate, Interim
from art.evaluation.evaluate import Evaluation
from art.report.filling import FillingTable


def evaluation(share: float) -> Evaluation:
    nothing = np.zeros((0, 0))
    values = {"top_1": share / 2, "top_5": share}
    return Evaluation(
        metrics=values,
        questions=[],
        rows=nothing,
        scores=nothing,
        hits=None,
        labelled=nothing,
        whole=False,
        per_question={},
        notes=[],
    )


def interim(num_done: int, *, labelled: bool = True) -> Interim:
    results = {"BM25": evaluation(0.4), "BM25, first 20 re-ordered": evaluation(num_done / 100)}
    return Interim(
        num_done=num_done,
        num_questions=100,
        seconds_left=90.0 * (100 - num_done),
        tested="top_5",
        results=results if labelled else {},
        agreements={"BM25": Agreement(num_done / 200, 0.1, 0.6, 0.25)},
    )


def test_the_estimate_counts_what_is_left_to_do(caplog) -> None:
    table = FillingTable(redraws=False)
    table.estimated(Estimate(4000, 0, 10.0, is_most=True))
    table.estimated(Estimate(3000, 600, 10.0, num_known=541, num_twice=459))
    table.estimated(Estimate(12, 0, 2.0))
    assert caplog.messages == [
        "at most 4,000 pairs to score: about 7 min at 10.0 pairs a second here",
        "3,000 pairs to score and 600 for the other prompts, besides 541 known already and 459 "
        "found by both searches: about 6 min at 10.0 pairs a second here",
        "12 pairs to score: about 6 s at 2.0 pairs a second here",
    ]


def test_a_pipe_gets_a_line_for_each_tenth_of_the_questions(caplog, capfd) -> None:
    table = FillingTable(redraws=False)
    assert not table.wants_bar
    for num_done in (4, 9, 12, 14, 19, 37, 39, 99, 100):
        table.scored(interim(num_done))
    table.end()
    lines = caplog.messages
    assert [line.split(" of ")[0] for line in lines] == ["12", "37", "99"]
    assert lines[0] == (
        "12 of 100 questions, 2.2 h left; top-5: BM25 40.0; BM25, first 20 re-ordered 12.0"
    )
    assert "\x1b" not in capfd.readouterr().err


def test_without_labels_the_lines_are_of_agreement(caplog) -> None:
    FillingTable(redraws=False).scored(interim(50, labelled=False))
    (line,) = caplog.messages
    assert line == "50 of 100 questions, 75 min left; same first passage as the teacher: BM25 25.0"


@pytest.mark.parametrize("labelled", [True, False])
def test_a_terminal_gets_the_table_in_its_place_and_nothing_is_left(labelled, capfd) -> None:
    table = FillingTable(redraws=True)
    assert table.wants_bar
    with tqdm(total=100, ncols=60, mininterval=0, leave=True) as bar:
        for num_done in (5, 25, 70, 100):
            bar.update(num_done - bar.n)
            table.scored(interim(num_done, labelled=labelled))
    table.end()
    screen = _screen(capfd.readouterr().err)
    assert [line for line in screen.lines if line.strip()] == [screen.lines[0]]
    assert "100/100" in screen.lines[0]
    for num_done in (5, 25, 70):
        value = f"{num_done:.1f}" if labelled else f"{num_done / 2:.1f} (10.0 to 60.0)"
        assert any(value in line for line in screen.shown), value
    assert any("of 100 questions:" in line for line in screen.shown)


class _Screen:
    def __init__(self) -> None:
        self.lines, self.shown = [""] * 12, set()


def _screen(written: str) -> _Screen:
    """Play what was written to a terminal: returns, new lines and the cursor moved up."""
    screen, row = _Screen(), 0
    for part in re.findall(r"\x1b\[A|\r|\n|[^\x1b\r\n]+", written):
        if part == "\x1b[A":
            row = max(row - 1, 0)
        elif part == "\n":
            row += 1
        elif part == "\r":
            pass
        else:
            screen.lines[row] = part + screen.lines[row][len(part) :]
            screen.shown.add(screen.lines[row].rstrip())
    return screen
