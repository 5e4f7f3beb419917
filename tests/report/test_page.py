"""The page as a browser would take it, against what the run wrote."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from html_page import Page
from tiny_run import HOSTILE

from art.evaluation.statistics import mcnemar
from art.report.history import read_histories
from art.report.page import render_page

pytestmark = pytest.mark.usefixtures("known_metrics")


def page_of(*folders: Path) -> str:
    return render_page(read_histories(folders))


@pytest.fixture(scope="module")
def page(labelled) -> str:
    return page_of(labelled)


def records(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def kept(folder: Path, step: int) -> list[dict[str, Any]]:
    path = folder / "evaluations" / f"step-{step:08d}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson 1927, as it stands in textbooks."""
    z = 1.959963984540054
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half


def test_the_page_needs_nothing_but_itself(page) -> None:
    found = Page(page)
    assert {tag for tag, _ in found.tags} & {"script", "link", "iframe", "object", "img"} == set()
    for _, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#")
        for value in attributes.values():
            assert "//" not in (value or "")
            assert "url(" not in (value or "").replace("url(#", "")
    css = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in css
    assert "@import" not in css


def test_every_id_stands_once_and_every_reference_is_to_one(page) -> None:
    tags = Page(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {attributes["xlink:href"] for _, attributes in tags if "xlink:href" in attributes}
    named |= {
        value[4:-1]
        for _, attributes in tags
        for value in attributes.values()
        if value and value.startswith("url(")
    }
    assert named
    assert {name.removeprefix("#") for name in named} <= set(ids)


def test_text_that_looks_like_markup_is_text(labelled, page) -> None:
    found = Page(page)
    assert HOSTILE in found.text
    assert labelled.name in found.text
    assert "<script" not in page
    assert "<i>" not in page


def test_the_same_run_gives_the_same_bytes_whatever_the_users_style(labelled, page) -> None:
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.hashsalt": "other"}):
        assert page_of(labelled) == page


def test_the_tables_values_are_those_of_the_metrics_with_their_intervals(labelled, page) -> None:
    result = json.loads((labelled / "result.json").read_text())
    assert result["best_step"] > 0
    for head, step, key in (("before", 0, "before"), ("after", result["best_step"], "after")):
        cells = Page(page).row(f"{head} training (step {step})")
        for cell, value in zip(cells, result[key].values(), strict=True):
            low, high = wilson(value, result["num_questions"])
            assert cell == f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def test_the_paired_test_is_that_of_the_questions(labelled, page) -> None:
    best = json.loads((labelled / "result.json").read_text())["best_step"]
    after, before = (
        [one["metrics"]["top_5"] > 0 for one in kept(labelled, step)] for step in (best, 0)
    )
    test = mcnemar(after, before)
    said = f"{test.only_first} won, {test.only_second} lost (exact McNemar p = {test.p_value:.2g})"
    assert f"top-5, after training against before: {said}." in Page(page).text


def test_the_heading_tells_sizes_models_and_the_choice(labelled, page) -> None:
    found = Page(page)
    assert found.row("State") == ["finished, step 6 of 6"]
    assert found.row("Passages")[0].startswith("60 (")
    assert found.row("Training questions")[0].startswith("30 (")
    assert found.row("Evaluated on")[0].startswith("12 (")
    assert found.row("Student")[0].startswith("/")
    assert found.row("Step chosen by") == ["top-20 of labelled questions"]
    assert found.row("Started")[0].endswith(" UTC")


def test_the_seconds_of_the_table_are_those_of_the_metrics(labelled, page) -> None:
    phases = ("retrieve", "score", "learn", "update", "save")
    seconds = {
        phase: sum(one.get(f"{phase}_seconds", 0) for one in records(labelled, "train"))
        for phase in phases
    }
    seconds["refresh"] = sum(one["seconds"] for one in records(labelled, "refresh"))
    seconds["evaluate"] = sum(one["seconds"] for one in records(labelled, "evaluation"))
    whole = sum(seconds.values())
    expected = [f"{value:.1f} s ({value / whole:.0%})" for value in seconds.values()]
    # The folder's name is the row's heading, the first with a cell for each phase.
    row = next(row for row in Page(page).rows if len(row) == len(expected) + 2 and row[0])
    assert row[1:] == [*expected, f"{whole:.1f} s"]


def test_questions_are_shown_with_what_they_found_before_and_after(labelled, page) -> None:
    best = json.loads((labelled / "result.json").read_text())["best_step"]
    found = Page(page).text
    pairs = list(zip(kept(labelled, 0), kept(labelled, best), strict=True))
    (most, *_) = sorted(
        pairs, key=lambda pair: (pair[1]["first_hit"] or 61) / (pair[0]["first_hit"] or 61)
    )
    place = found.index(most[0]["question"])
    for one in most:
        for passage in one["passages"]:
            place = found.index(f"{passage['score']:.3f}", place)


def test_without_labels_the_teachers_judgement_is_shown(unlabelled) -> None:
    page = page_of(unlabelled)
    found = Page(page)
    start = records(unlabelled, "evaluation")[0]
    values = start["agreed_reciprocal_rank"], start["teacher_log_likelihood"]
    assert found.row("before training (step 0)") == [
        f"{100 * values[0]:.1f}",
        f"{values[1]:.3f}",
    ]
    assert "McNemar" not in page
    assert "hit</span>" not in page
    assert "(held out of what trains)" in found.text


def test_generated_questions_are_told_apart_from_real_ones(copy) -> None:
    lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if line["kind"] == "start":
            line["num_generated"] = 15
        if line["kind"] == "train":
            line |= {"real_loss": line["loss"], "generated_loss": line["loss"] / 2}
    (copy / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(settings.replace("generated: []", "generated: [made.jsonl]"))
    page = page_of(copy)
    assert Page(page).row("Training questions")[0].endswith("; 15 of them generated: made.jsonl)")
    (chart,) = re.findall(r"<b>Loss, real and generated questions apart</b>.*?</svg>", page, re.S)
    texts = {text.strip() for text in re.findall(r">([^<>]+)</text>", chart)}
    assert {"real", "generated"} <= texts
    assert "Entropy of the soft labels, real" not in page  # which this run has not logged


def test_two_runs_stand_side_by_side(labelled, copy) -> None:
    settings = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(settings.replace("top_k: 3", "top_k: 4"))
    found = Page(page_of(labelled, copy))
    assert found.row("training.top_k") == ["3", "4"]
    assert found.row("State") == ["finished, step 6 of 6"] * 2
    for name in (labelled.name, "copy"):
        assert found.row(f"{name}: before training (step 0)")
    assert "do not compare" not in found.text
    result = json.loads((copy / "result.json").read_text())
    result["fingerprints"]["passages"] = "of something else"
    (copy / "result.json").write_text(json.dumps(result))
    assert "did not have the same passages: do not compare" in page_of(labelled, copy)


def test_runs_of_the_same_name_are_told_apart_by_their_paths(copy, tmp_path) -> None:
    other = tmp_path / "elsewhere" / "copy"
    shutil.copytree(copy, other, symlinks=True)
    assert [one.name for one in read_histories([copy, other])] == [str(copy), str(other)]


def test_a_killed_run_has_a_page_of_what_it_did(copy) -> None:
    (copy / "result.json").unlink()
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    end = next(i for i, line in enumerate(lines) if '"evaluation", "step": 2' in line)
    (copy / "metrics.jsonl").write_text("".join(lines[: end + 1]) + '{"kind": "train", "st')
    found = Page(page_of(copy))
    assert found.row("State") == ["not finished, step 2 of 6"]
    values = [one["top_20"] for one in map(json.loads, lines) if one["kind"] == "evaluation"]
    best = "2, so far" if values[1] > values[0] else "0: none was better than the start"
    assert found.row("Chosen step") == [best]
    assert "passages: " in found.text


def test_a_run_that_kept_no_rankings_has_the_rest_of_its_page(copy) -> None:
    shutil.rmtree(copy / "evaluations")
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(line for line in lines if '"start"' not in line))
    found = Page(page_of(copy))
    assert "What the questions found was not kept by this run." in found.text
    assert "McNemar" not in found.text
    assert found.row("Started") == ["not recorded"]
    assert found.row("before training (step 0)")
