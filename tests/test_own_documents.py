"""A folder of Markdown, from documents to a trained retriever that answers questions."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import yaml
from command import run


@pytest.fixture(scope="module")
def passages(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("documents")
    texts = iter(text for _, _, text in corpus)
    for document in range(5):
        sections = [f"# Book {document}"]
        for section in range(3):
            body = ". ".join(next(texts).capitalize() for _ in range(4))
            sections.append(f"## Part {section}\n\n{body}.\n")
        path = folder / f"shelf {document % 2}" / f"{document}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(sections))
    output = tmp_path_factory.mktemp("corpus") / "passages.jsonl"
    assert run("split", "--documents", folder, "--output", output, "--words", 40) == 0
    return output


@pytest.fixture(scope="module")
def trained(passages, tiny_bert, tiny_llama, tmp_path_factory) -> tuple[Path, Path]:
    """Return the folders of a retriever trained on the passages and of its index."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "questions.txt").write_text("\n".join(f"who is {i} of moon ?" for i in range(40)))
    config = {
        "data": {"passages": str(passages), "questions": str(folder / "questions.txt")},
        "retriever": {"model": str(tiny_bert), "passage_length": 64},
        "teacher": {"model": str(tiny_llama), "dtype": "float32"},
        "training": {
            "questions_per_step": 4,
            "questions_per_micro_batch": 4,
            "top_k": 4,
            "max_steps": 2,
            "cpu": True,
        },
        "output": {"folder": str(folder / "run")},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    assert run("train", "--config", folder / "mine.yaml") == 0
    retriever, index = folder / "run" / "retriever", folder / "index"
    assert run(
        "embed", "--retriever", retriever, "--passages", passages, "--output", index, "--cpu"
    ) == 0  # fmt: skip
    return retriever, index


def test_split_prints_what_it_made(passages, tmp_path, capsys):
    (tmp_path / "a.md").write_text("# Moon\nFar away.")
    (tmp_path / "a.png").touch()
    assert run("split", "--documents", tmp_path, "--output", tmp_path / "p.jsonl") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'p.jsonl'}: 1 passages from 1 documents",
        "skipped 1 of an unknown type (.png): a.png",
    ]


def test_piped_questions_are_answered_with_the_documents_passages(
    passages, trained, monkeypatch, capsys
):
    retriever, index = trained
    rows = {row["id"]: row for row in map(json.loads, passages.read_text().splitlines())}
    # 15 sections of 84 words: 40 and 44.
    assert len(rows) == 30
    wanted = rows["shelf%200/2.md#3"]
    assert wanted["title"] == "Book 2 - Part 1"
    capsys.readouterr()
    asked = [f"what is {wanted['text']}", "who keeps the moon"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n".join(asked)))
    assert run("search", "--retriever", retriever, "--index", index, "--cpu") == 0
    first, second = capsys.readouterr().out.rstrip("\n").split("\n\n")
    for answer, question in ((first, asked[0]), (second, asked[1])):
        lines = answer.splitlines()
        assert lines[0] == question  # no prompt
        ranked = [line for line in lines if line[2:4] == ". "]
        assert [line[:2] for line in ranked] == [" 1", " 2", " 3", " 4", " 5"]
        scores = [float(line[4:].split()[0]) for line in ranked]
        assert scores == sorted(scores, reverse=True)
        assert all(line.split("[")[1].rstrip("]") in rows for line in ranked)
    monkeypatch.setattr(sys, "stdin", io.StringIO("who"))
    common = ["--retriever", retriever, "--index", index, "--cpu", "--top-k", 2]
    assert run("search", *common) == 0
    assert " 3. " not in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO(asked[0]))
    assert run("search", *common, "--fused", "--fused-weight", "ranks") == 0
    ranked = [line for line in capsys.readouterr().out.splitlines() if line[2:4] == ". "]
    assert len(ranked) == 2
    scores = [float(line[4:].split()[0]) for line in ranked]
    assert 0.016 <= scores[1] <= scores[0] <= 0.033  # from 1 / 61 to 2 / 61


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--questions", "q.txt"], "--output is missing"),
        (["--output", "run.trec"], "name it with --questions"),
    ],
)
def test_questions_and_output_come_together(trained, words, complaint, capsys):
    retriever, index = trained
    assert run("search", "--retriever", retriever, "--index", index, *words) == 1
    assert complaint in capsys.readouterr().err
