"""`art report` as a user meets it."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import run


def complaint(capsys, *words: object) -> str:
    assert run("report", *words) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


def test_a_page_and_a_picture_are_written_and_written_again(labelled, copy, tmp_path, capsys):
    for name, start in (("r.html", "<!DOCTYPE html>"), ("r.svg", "<?xml")):
        output = tmp_path / name
        output.write_text("an older one")
        assert run("report", labelled, copy, "--output", output) == 0
        assert output.read_text().startswith(start)
        assert f"{output} is written" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["report.pdf", "metrics.jsonl", "report"])
def test_another_ending_is_refused_before_anything_is_read(name, tmp_path, capsys) -> None:
    assert ".html" in complaint(capsys, "nowhere", "--output", tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_folder_of_something_else_is_refused(tmp_path, capsys) -> None:
    said = complaint(capsys, tmp_path, "--output", tmp_path / "r.html")
    assert f"{tmp_path}: not a run folder" in said


@pytest.mark.parametrize("metrics", [None, "", '{"kind": "start", "step": 0}\n'])
def test_a_run_that_has_not_been_evaluated_has_no_report_yet(metrics, copy, tmp_path, capsys):
    (copy / "metrics.jsonl").unlink()
    if metrics is not None:
        (copy / "metrics.jsonl").write_text(metrics)
    said = complaint(capsys, copy, "--output", tmp_path / "r.html")
    assert "nothing has been evaluated yet" in said


DAMAGED = ["{", "[]", '{"kind": "train"}', '{"kind": "evaluation", "step": 2}', "\x00"]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_is_named(line, copy, tmp_path, capsys) -> None:
    lines = (copy / "metrics.jsonl").read_text().splitlines()
    assert '"evaluation"' in lines[2]
    lines.insert(3, line)
    (copy / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    said = complaint(capsys, copy, "--output", tmp_path / "r.html")
    assert f"{copy / 'metrics.jsonl'}:4: not a line of metrics" in said


def damage(folder: Path, what: str) -> str:
    """Damage a file of a run; return how the complaint begins."""
    if what == "rankings":
        path = folder / "evaluations" / "step-00000000.jsonl"
        path.write_text(path.read_text().replace("{", "", 1))
        return f"{path}:1: "
    if what == "other questions":
        best = sorted((folder / "evaluations").iterdir())[-1]
        for path in (folder / "evaluations").iterdir():
            if path.name != "step-00000000.jsonl":
                path.write_text("")
        return f"{best.parent}"
    if what == "settings":
        (folder / "config.yaml").write_text("- a")
        return f"{folder / 'config.yaml'}: "
    path = folder / "metrics.jsonl"
    lines = [
        line for line in path.read_text().splitlines() if '"evaluation", "step": 0' not in line
    ]
    path.write_text("\n".join(lines) + "\n")
    return f"{path}: lacks the evaluation of step 0"


@pytest.mark.parametrize("what", ["rankings", "other questions", "settings", "no first evaluation"])
def test_other_damage_is_one_line_that_names_the_file(what, copy, tmp_path, capsys) -> None:
    where = damage(copy, what)
    assert f"error: {where}" in complaint(capsys, copy, "--output", tmp_path / "r.html")


def test_two_runs_are_compared_as_they_were_judged(labelled, copy, unlabelled, capsys) -> None:
    assert run("compare", labelled, copy) == 0
    printed = capsys.readouterr().out
    assert printed.count("its best") == 2 and "gains most" not in printed
    rows = [line.split() for line in printed.splitlines() if line.startswith("top-")]
    assert rows and all(row[1] == row[2] and row[3] == "+0.0" for row in rows)
    assert run("compare", labelled, copy, "--qrels", "qrels.tsv") == 1
    assert "labels are for result files" in capsys.readouterr().err
    assert run("compare", labelled, unlabelled) == 1
    assert "compare rankings of the same questions" in capsys.readouterr().err
    for path in (copy / "evaluations").iterdir():
        path.unlink()
    assert run("compare", labelled, copy) == 1
    assert "the run has kept no rankings" in capsys.readouterr().err
