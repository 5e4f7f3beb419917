"""`art.load`, `art.index`, `art.load_index`: vectors, hits and metrics."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from command import run

import art
from art.data.tokens import TokenStore
from art.errors import ArtError, ConfigFaults, MismatchError
from art.retriever import bm25


@pytest.fixture(scope="module")
def retriever(tiny_bert):
    return art.load(tiny_bert, cpu=True, passage_length=64, pooling="mean")


@pytest.fixture(scope="module")
def index(retriever, rows, tmp_path_factory):
    return art.index(retriever, rows["passages"], tmp_path_factory.mktemp("index"))


def passage_vectors(index) -> np.ndarray:
    tokens = TokenStore.open_or_build(index.store, index.retriever.passage_template)
    sequences = [tokens[row] for row in range(len(tokens))]
    return index.retriever.embed_tokens("passage", sequences).astype(np.float64)


def test_importing_loads_nothing_heavy_and_every_name_is_there() -> None:
    check = (
        "import sys, art\n"
        "print([name for name in ('torch', 'transformers', 'pydantic', 'numpy') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert all(getattr(art, name) is not None for name in art.__all__)


def test_what_is_cut_is_said_once(tiny_bert, rows, tmp_path, capsys) -> None:
    short = art.load(tiny_bert, cpu=True, passage_length=12, question_length=6, pooling="mean")
    capsys.readouterr()
    index = art.index(short, rows["passages"], tmp_path / "index")
    assert capsys.readouterr().err.count("passages have more than 12 tokens") == 1
    index.search("the moon")
    assert "cut" not in capsys.readouterr().err
    for _ in range(2):
        index.search(["the moon " * 9, "moon"])
    said = capsys.readouterr().err
    assert said.count("note: 1 of 2 questions have more than 6 tokens") == said.count("cut") == 1


def test_search_finds_the_largest_inner_products(index, rows) -> None:
    questions = rows["questions"][:7]
    asked = index.retriever.embed_questions(questions).astype(np.float64)
    products = asked @ passage_vectors(index).T  # [7, N]
    order = np.argsort(-products, axis=1, kind="stable")[:, :4]
    found = index.search(questions, top_k=4)
    assert [[hit.passage_id for hit in hits] for hits in found] == [
        [rows["passages"][row]["id"] for row in best] for best in order.tolist()
    ]
    scores = [[hit.score for hit in hits] for hits in found]
    np.testing.assert_allclose(scores, np.take_along_axis(products, order, 1), rtol=1e-6)
    by_id = {row["id"]: (row["title"], row["text"]) for row in rows["passages"]}
    assert all((hit.title, hit.text) == by_id[hit.passage_id] for hits in found for hit in hits)


def test_one_question_and_rows_of_questions_are_asked_alike(index) -> None:
    as_text = index.search(["who is of the moon ?"])
    assert len(as_text[0]) == 5
    assert index.search("who is of the moon ?") == as_text
    assert index.search([{"question": "who is of the moon ?"}]) == as_text
    assert index.search([]) == []


def test_figures_are_those_of_the_command(index, rows, settings, tmp_path) -> None:
    metrics = index.evaluate(rows["evaluation_questions"])
    file = settings["evaluation"]["questions"]
    assert index.evaluate(file) == metrics
    index.retriever.save(tmp_path / "retriever")
    words = ["--retriever", tmp_path / "retriever", "--index", index.index.folder, "--questions"]
    assert run("evaluate", *words, file, "--output", tmp_path / "metrics.json", "--cpu") == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"] == metrics


@pytest.mark.parametrize("weight", [None, 0.7])
def test_fused_search_and_metrics_are_those_of_the_command(
    index, rows, settings, tmp_path, weight, capsys
) -> None:
    options = {"fused": True, "fused_weight": weight}
    file = settings["evaluation"]["questions"]
    metrics = index.evaluate(rows["evaluation_questions"], **options)
    found = index.search(rows["evaluation_questions"], top_k=9, **options)
    index.retriever.save(tmp_path / "retriever")
    words = ["--retriever", tmp_path / "retriever", "--index", index.index.folder, "--questions"]
    words += [file, "--cpu", "--fused", *(["--fused-weight", weight] if weight else [])]
    run_file, metrics_file = tmp_path / "run.json", tmp_path / "metrics.json"
    assert run("search", *words, "--top-k", 9, "--output", run_file) == 0
    contexts = [entry["ctxs"] for entry in json.loads(run_file.read_text())]
    assert [[hit.passage_id for hit in hits] for hits in found] == [
        [context["id"] for context in one] for one in contexts
    ]
    capsys.readouterr()
    assert run("evaluate", *words, "--output", metrics_file) == 0
    written = json.loads(metrics_file.read_text())
    assert written["metrics"] == metrics
    assert list(written["tables"]) == ["BM25", "retriever", "fused"]
    alone = index.evaluate(rows["evaluation_questions"])
    assert {one["metric"]: one["value"] for one in written["tables"]["retriever"]} == alone
    assert metrics != alone
    shown = capsys.readouterr().out
    tests = written["fused_against"]
    assert [one["other"] for one in tests] == ["retriever", "BM25"]
    for one in tests:
        told = f"top-5, fused against {one['other']}: {one['won']} won, {one['lost']} lost (exact"
        assert told in shown
    assert f"fused by {written['fused_by']}\n" in shown
    lines = [line.split("  ")[0] for line in shown.splitlines()]
    assert lines.index("BM25") + 2 == lines.index("retriever") + 1 == lines.index("fused")


def test_the_words_of_an_index_are_indexed_once(retriever, rows, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ART_CACHE", str(tmp_path / "cache"))
    built = art.index(retriever, rows["passages"], tmp_path / "index")
    assert not (tmp_path / "cache" / "bm25").exists()  # nobody asked for words
    found = built.search(rows["questions"], fused=True)
    monkeypatch.setattr(bm25, "_build", lambda *_: pytest.fail("built twice"))
    assert built.search(rows["questions"], fused=True) == found
    again = art.load_index(tmp_path / "index", retriever)
    assert again.search(rows["questions"], fused=True) == found
    assert again.search([], fused=True) == []


def test_a_language_is_of_fused_words(rows, tmp_path, capsys) -> None:
    words = ["search", "--retriever", "r", "--index", "i", "--questions", "q.txt", "--output", "o"]
    assert run(*words, "--language", "german") == 1
    assert "give it with --fused" in capsys.readouterr().err
    assert run(*words, "--fused", "--language", "germn") == 1
    assert "did you mean german" in capsys.readouterr().err


def test_a_weight_of_nothing_is_refused(index) -> None:
    with pytest.raises(ArtError, match="results that are not fused"):
        index.search("who ?", fused_weight=0.5)
    with pytest.raises(ArtError, match="the retriever's weight is 1"):
        index.evaluate(["who ?"], fused=True, fused_weight=1)


def test_what_figures_leave_out_is_told(index, rows, capsys) -> None:
    asked = [*rows["evaluation_questions"], "without a label ?"]
    assert index.evaluate(asked) == index.evaluate(rows["evaluation_questions"])
    assert "note: 1 of 13 questions have no label" in capsys.readouterr().err
    with pytest.raises(ArtError, match="no question has answers, positive_passage_ids"):
        index.evaluate(["who ?"])


def test_a_saved_retriever_and_its_index_are_loaded_as_they_were(index, rows, tmp_path) -> None:
    index.retriever.save(tmp_path / "retriever")
    again = art.load(tmp_path / "retriever", cpu=True)
    questions = rows["questions"]
    vectors = [one.embed_questions(questions).tobytes() for one in (index.retriever, again)]
    assert vectors[0] == vectors[1]
    opened = art.load_index(index.index.folder, again)
    assert opened.search(questions, top_k=9) == index.search(questions, top_k=9)


def test_an_index_of_rows_can_be_moved(retriever, rows, tmp_path) -> None:
    built = art.index(retriever, rows["passages"], tmp_path / "built")
    expected = built.search(rows["questions"])
    shutil.move(tmp_path / "built", tmp_path / "moved")
    assert art.load_index(tmp_path / "moved", retriever).search(rows["questions"]) == expected


def test_an_index_of_a_file_says_when_its_passages_are_gone(
    retriever, settings, rows, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("ART_CACHE", str(tmp_path / "cache"))
    file = settings["data"]["passages"]
    expected = art.index(retriever, file, tmp_path / "index").search(rows["questions"])
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(ArtError, match=r"no longer where they were .*passages="):
        art.load_index(tmp_path / "index", retriever)
    opened = art.load_index(tmp_path / "index", retriever, passages=file)
    assert opened.search(rows["questions"]) == expected
    (tmp_path / "others.jsonl").write_text('{"id": "x", "text": "y"}')
    with pytest.raises(MismatchError, match="the index holds passages"):
        art.load_index(tmp_path / "index", retriever, passages=tmp_path / "others.jsonl")


def test_the_same_call_embeds_only_what_is_missing_and_other_passages_anew(
    retriever, rows, tmp_path
) -> None:
    first = art.index(retriever, rows["passages"], tmp_path / "index")
    written = (tmp_path / "index" / "shard-00000.bin").stat().st_mtime_ns
    art.index(retriever, rows["passages"], tmp_path / "index")
    assert (tmp_path / "index" / "shard-00000.bin").stat().st_mtime_ns == written
    fewer = art.index(retriever, rows["passages"][:9], tmp_path / "index")
    assert (len(first.index), len(fewer.index)) == (60, 9)


def test_another_retriever_than_the_one_that_made_the_index_is_refused(index, tiny_bert) -> None:
    other = art.load(tiny_bert, cpu=True, passage_length=64, pooling="cls")
    with pytest.raises(MismatchError, match="the index was made by retriever"):
        art.load_index(index.index.folder, other)


def test_settings_of_a_retriever_are_checked(tiny_bert) -> None:
    with pytest.raises(ConfigFaults) as caught:
        art.load(tiny_bert, poling="mean", passage_length=0)
    assert [fault.split(",")[0] for fault in caught.value.faults] == [
        "art.load: retriever.passage_length: input should be greater than 0",
        "art.load: retriever.poling: no such setting; did you mean retriever.pooling?",
    ]
    with pytest.raises(ArtError, match="no such model folder"):
        art.load("./nowhere")


def test_malformed_rows_are_named(index, retriever, tmp_path) -> None:
    with pytest.raises(ArtError, match=r"^questions\[1\]: the question is empty \(repair that row"):
        index.search(["who ?", " "])
    with pytest.raises(ArtError, match=r"^questions\[0\]: 'answers' is not a list"):
        index.evaluate([{"question": "who ?", "answers": "he"}])
    with pytest.raises(ArtError, match=r"^passages\[2\]: passage id 'a' occurs in passages\[0\]"):
        art.index(retriever, [{"id": "a", "text": "x"}, "y", {"id": "a", "text": "z"}], tmp_path)
