"""File names that are not UTF-8: read and written as others, or refused in one line."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from command import run
from tiny_run import tiny_run

from art.errors import ArtError
from art.files import read_json, write_json
from art.retriever.loading import create_retriever

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="such names exist on Linux alone")

NAME = os.fsdecode(b"caf\xe9")
SHOWN = "caf\\udce9"
REFUSED = "the name of this file or folder is not UTF-8"


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory) -> Path:
    """A folder of that name with a corpus, questions and judgements of that name."""
    folder = tmp_path_factory.mktemp("names") / NAME
    folder.mkdir()
    rows = ["id\ttext\ttitle", *(f"{name}\t{text}\t{title}" for name, title, text in corpus)]
    (folder / f"{NAME}.tsv").write_text("\n".join(rows))
    asked = [
        {"id": f"q{i}", "question": corpus[i][2], "positive_passage_ids": [corpus[i][0]]}
        for i in range(5)
    ]
    (folder / f"{NAME}.jsonl").write_text("\n".join(map(json.dumps, asked)))
    judged = "".join(f"q{i}\t{corpus[i][0]}\t1\n" for i in range(5))
    (folder / f"qrels {NAME}.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return folder


def test_every_file_of_a_search_may_be_called_so(
    folder, tiny_bert, tiny_llama, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("ART_CACHE", str(folder / "cache"))
    named = folder / NAME
    passages, asked = ["--passages", f"{named}.tsv"], ["--questions", f"{named}.jsonl"]
    own = ["--retriever", tiny_bert, "--passage-length", 64, "--question-length", 32, "--cpu"]
    assert run("embed", *own, *passages, "--output", named) == 0
    assert f"{SHOWN}/{SHOWN}: 60 passages" in capsys.readouterr().out
    assert run("embed", *own, *passages, "--output", named) == 0  # which finds it finished
    searched = [*own, "--index", named, *asked]
    assert run("search", *searched, "--output", f"{named}.trec") == 0
    measured = ["--qrels", folder / f"qrels {NAME}.tsv", "--output", f"{named}.json"]
    assert run("evaluate", *searched, *measured) == 0
    written = read_json(f"{named}.json", names=True)
    assert written["questions"] == f"{named}.jsonl"
    assert written["metrics"]["top_1"] == 1.0
    assert run("mine", *passages, "--bm25", *asked, "--output", folder / f"mined {NAME}.jsonl") == 0
    scored = ["--run", f"{named}.trec", "--output", folder / f"scored {NAME}.json", "--cpu"]
    assert run("score", "--teacher", tiny_llama, *passages, *asked, *scored) == 0
    assert len(json.loads((folder / f"scored {NAME}.json").read_text())) == 5


def test_documents_may_be_called_so(folder, tmp_path) -> None:
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / f"{NAME}.txt").write_text("A text about things. And more of it.")
    output = tmp_path / f"{NAME}.jsonl"
    assert run("split", "--documents", tmp_path / NAME, "--output", output) == 0
    assert json.loads(output.read_text())["text"].startswith("A text")


def test_models_called_so_are_refused_in_one_line(folder, tiny_bert, tmp_path, capsys) -> None:
    (folder / "model").symlink_to(tiny_bert)
    words = ["embed", "--passages", folder / f"{NAME}.tsv", "--cpu", "--output", tmp_path / "index"]
    assert run(*words, "--retriever", folder / "model") == 1
    assert f"{SHOWN}/model: {REFUSED} (rename it, or link to it" in capsys.readouterr().err
    start = tmp_path / "start"
    create_retriever(str(tiny_bert), passage_length=64, question_length=32).save(start)
    words = ["export", "--retriever", start, "--to", "sentence-transformers"]
    assert run(*words, "--output", folder / "out") == 1
    assert REFUSED in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_settings_refuse_them_because_a_run_could_not_read_them_back(
    folder, corpus, tiny_bert, tiny_t5, tmp_path, capsys
) -> None:
    config = tiny_run(tmp_path / "run", tiny_bert, tiny_t5, corpus)
    (tmp_path / "run.yaml").write_text(config.to_yaml())
    words = ["train", "--config", tmp_path / "run.yaml", "--dry-run"]
    for setting in ("data.passages", "output.folder", "evaluation.questions"):
        assert run(*words, f"--{setting}", folder / NAME) == 1
        assert f"{setting}: not UTF-8, as settings are; rename" in capsys.readouterr().err
    words = ["init", "--passages", folder / f"{NAME}.tsv", "--questions", folder / f"{NAME}.jsonl"]
    assert run(*words, "--output", tmp_path / "mine.yaml") == 1
    assert REFUSED in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--question-prefix", "--passage-prefix"])
def test_text_options_are_utf8_whatever_the_locale_says(
    option, folder, tiny_bert, tmp_path, capsys
) -> None:
    words = ["embed", "--retriever", tiny_bert, "--passages", folder / f"{NAME}.tsv", "--cpu"]
    words += ["--passage-length", 64, "--question-length", 32, "--output", tmp_path / "index"]
    assert run(*words, option, NAME) == 1
    assert f"error: {option}: not UTF-8 (set the terminal" in capsys.readouterr().err
    as_ascii_locales_pass_it = (
        os.fsdecode("é: ".encode()).encode().decode("ascii", "surrogateescape")
    )
    assert run(*words, option, as_ascii_locales_pass_it) == 0
    assert "'é: '" in capsys.readouterr().err


def test_json_keeps_such_a_name_and_still_refuses_other_halves_of_pairs(tmp_path) -> None:
    write_json(tmp_path / "a.json", {"name": NAME, "other": "é"})
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"name": NAME, "other": "é"}
    assert read_json(tmp_path / "a.json", names=True)["name"] == NAME
    with pytest.raises(ArtError, match="not a JSON document"):
        read_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('"\\ud800"')
    with pytest.raises(ArtError, match="not a JSON document"):
        read_json(tmp_path / "b.json", names=True)
