"""A metric of one's own: registered in one place, known everywhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tiny_run import tiny_run

from art import report
from art.data.formats import Passage, Question
from art.data.passages import PassageStore
from art.evaluation.evaluate import Evaluation, evaluate_rows
from art.evaluation.metrics import METRICS, Metric, metric
from art.evaluation.metrics.base import RANK, Values
from art.evaluation.metrics.evidence import Hits
from art.report.curves import charts
from art.report.history import read_histories
from art.report.page import render_page
from art.training.loop import train
from art.training.selection import primary_metric


def worst_rank(hits: Hits) -> Values:
    """The rank of the last passage that answers; the place behind the last where none does."""
    depth = hits.found.shape[1]
    ranks = np.where(hits.found.any(axis=1), depth - hits.found[:, ::-1].argmax(axis=1), depth + 1)
    return np.where(hits.labelled, ranks, np.nan)


WORST_RANK = Metric(
    name="worst_rank",
    title="worst rank",
    meaning="the rank of the last passage that answers a question",
    source=Hits,
    compute=worst_rank,
    unit=RANK,
    higher_is_better=False,
    preference=-1,  # goes before top-20
)


@pytest.fixture(scope="module", autouse=True)
def registered(known_metrics) -> Iterator[None]:
    METRICS.add(WORST_RANK)
    yield
    METRICS.remove(WORST_RANK.name)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    passages = [Passage(f"p{i}", "", f"text {i}") for i in range(5)]
    folder = tmp_path_factory.mktemp("store") / "store"
    store = PassageStore.build(passages, folder, source="test", progress=False)
    questions = [
        Question("a", "?", positive_passage_ids=frozenset({"p0", "p2"})),
        Question("b", "?", positive_passage_ids=frozenset({"p4"})),
    ]
    rows = np.array([[0, 1, 2, 3], [3, 2, 1, 0]])
    return evaluate_rows(rows, -rows.astype(float), store, questions, ks=(1, 2))


@pytest.fixture(scope="module")
def run(tiny_bert, tiny_t5, corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that evaluated by the new metric too."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    result = train(tiny_run(folder, tiny_bert, tiny_t5, corpus, max_steps=4))
    assert result.metric == "worst_rank"
    return folder


def test_it_is_evaluated_with_the_others(evaluated: Evaluation) -> None:
    assert evaluated.metrics == {"top_1": 0.5, "top_2": 0.5, "worst_rank": (3 + 5) / 2}
    assert evaluated.per_question["worst_rank"].tolist() == [3, 5]
    assert evaluated.table()[-1] == {
        "metric": "worst_rank", "value": 4.0, "num_questions": 2, "low": None, "high": None
    }  # fmt: skip


def test_tables_show_it_in_its_unit(evaluated: Evaluation) -> None:
    lines = report.evaluation(evaluated.table(), []).splitlines()
    assert [line.split() for line in lines if "rank" in line] == [["worst", "rank", "4.000"]]
    for table in (report.metrics({"here": evaluated.metrics}), report.comparison({"a": evaluated})):
        head, row = table.splitlines()[-2:]
        assert head.endswith("worst rank") and row.endswith("  4.000")


def evaluations(folder: Path) -> list[dict[str, float]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "evaluation"]


class Cells(HTMLParser):
    """The text of each cell of a page's tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        if self.lasttag in ("td", "th") and data.strip():
            self.found.append(data)


def test_the_page_of_a_run_shows_and_explains_it(run: Path) -> None:
    histories = read_histories([run])
    cells = Cells(render_page(histories)).found
    assert "worst rank" in cells
    assert WORST_RANK.meaning in cells
    assert f"{evaluations(run)[0]['worst_rank']:.3f}" in cells
    assert [one.title for one in charts(histories)][:2] == [
        "Questions answered within the first k, %",
        "worst rank",
    ]


def test_it_chooses_where_it_goes_first_and_the_lowest_value_wins(run: Path, tmp_path) -> None:
    assert primary_metric(["top_5", "top_20", "worst_rank"]) == "worst_rank"
    killed = tmp_path / "killed"
    shutil.copytree(run, killed, symlinks=True)
    (killed / "result.json").unlink()
    (history,) = read_histories([killed])
    best = min(evaluations(run), key=lambda line: line["worst_rank"])
    assert (history.metric, history.best_step) == ("worst_rank", best["step"])


def test_what_is_removed_is_a_name_like_any_other() -> None:
    METRICS.remove(WORST_RANK.name)
    try:
        assert metric("worst_rank").title == "worst-rank"
        assert primary_metric(["worst_rank", "top_5"]) == "top_5"
    finally:
        METRICS.add(WORST_RANK)
