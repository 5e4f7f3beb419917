"""A file format is one file: formats of our own, added here, are read and written everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from command import run
from tiny_run import tiny_run

import art
from art.data.formats import (
    FORMATS,
    Passage,
    PassageFormat,
    QuestionResult,
    Ranking,
    ResultFormat,
    read_passages,
    read_run,
)
from art.data.passages import PassageStore
from art.data.rows import BadRows, converted, plain_lines
from art.errors import DataError, RowError
from art.training.loop import train
from art.training.settings import check_config


def read_toy(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Passage]]:
    return converted(plain_lines(Path(path), bad_rows), toy_passage, path, bad_rows)


def toy_passage(line: str, where: str) -> Passage:
    passage_id, bar, text = line.partition("|")
    if not bar:
        raise RowError("no bar between id and text", where=where)
    return Passage(passage_id, "", text)


def read_toy_run(path: Path, bad_rows: BadRows | None) -> Iterator[tuple[str, QuestionResult]]:
    for number, line in plain_lines(path, bad_rows):
        question_id, *words = line.split("|")
        pairs = (word.rsplit("=", 1) for word in words)
        found = [(name, float(score)) for name, score in pairs]
        yield f"{path}:{number}", QuestionResult(question_id, found)


def write_toy_run(path: Path, rankings: Iterable[Ranking], tag: str) -> Iterator[str]:
    for one in rankings:
        hits = zip(one.passage_ids, one.scores, strict=True)
        words = [f"{name}={score!s}" for name, score in hits]
        yield "|".join([one.question.question_id, *words]) + "\n"


@pytest.fixture(autouse=True)
def _toy_formats() -> Iterator[None]:
    added = [
        FORMATS.add(
            PassageFormat(
                name="passages-toy", endings=(".toy",), description="of `id|text`", read=read_toy
            )
        ),
        FORMATS.add(
            ResultFormat(
                name="results-toy",
                endings=(".toyrun",),
                description="a line for each question",
                read=read_toy_run,
                write=write_toy_run,
            )
        ),
    ]
    yield
    for one in added:
        FORMATS.remove(one.name)


@pytest.fixture
def corpus_file(corpus, tmp_path: Path) -> Path:
    path = tmp_path / "corpus.toy"
    path.write_text("".join(f"{name}|{text}\n" for name, _, text in corpus))
    return path


def test_a_corpus_of_our_own_format_becomes_a_store(corpus, corpus_file, tmp_path) -> None:
    store = PassageStore.open_or_build(corpus_file, cache=tmp_path / "cache", progress=False)
    assert list(store) == [Passage(name, "", text) for name, _, text in corpus]


def test_its_bad_rows_are_named_and_skipped_like_ours(corpus, corpus_file, tmp_path) -> None:
    with corpus_file.open("a") as file:
        file.write("nothing between\np0|a repeated id\n")
    with pytest.raises(RowError, match=r"corpus\.toy:61: no bar"):
        list(read_passages(corpus_file))
    settings = {"cache": tmp_path / "cache", "progress": False}
    store = PassageStore.open_or_build(corpus_file, skip_bad_rows=True, **settings)
    assert (len(store), store.bad_rows.count) == (len(corpus), 2)


def test_messages_list_it_among_the_formats_that_are_known(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.touch()
    with pytest.raises(DataError) as caught:
        read_passages(path)
    assert ".toy of `id|text`" in str(caught.value.hint)


def test_an_index_from_python_is_made_of_it(corpus, corpus_file, tiny_bert, tmp_path) -> None:
    retriever = art.load(tiny_bert, cpu=True, passage_length=32)
    index = art.index(retriever, corpus_file, tmp_path / "index")
    assert index.store[3].text == corpus[3][2]


def test_the_commands_read_our_corpus_and_write_our_results(
    corpus, corpus_file, tiny_bert, tmp_path
) -> None:
    art.load(tiny_bert, cpu=True, passage_length=32).save(tmp_path / "retriever")
    (tmp_path / "questions.txt").write_text("who is the moon ?\nwhat is the river ?\n")
    model = ("--retriever", tmp_path / "retriever", "--cpu")
    made = ("--passages", corpus_file, "--output", tmp_path / "index")
    assert run("embed", *model, *made) == 0
    asked = ("--index", tmp_path / "index", "--questions", tmp_path / "questions.txt")
    for ending in ("toyrun", "trec"):
        output = ("--top-k", 7, "--output", tmp_path / f"run.{ending}")
        assert run("search", *model, *asked, *output) == 0
    ours, trec = (read_run(tmp_path / f"run.{ending}") for ending in ("toyrun", "trec"))
    assert ours.question_ids == ["1", "2"] and ours.scores.shape == (2, 7)
    assert (ours.question_ids, ours.passage_ids) == (trec.question_ids, trec.passage_ids)
    assert (ours.scores == trec.scores).all()


def test_a_run_trains_on_it(corpus_file, corpus, tiny_bert, tiny_t5, tmp_path) -> None:
    document = tiny_run(tmp_path / "run", tiny_bert, tiny_t5, corpus).model_dump(mode="json")
    document["data"]["passages"] = str(corpus_file)
    document["training"]["max_steps"] = 2
    assert train(check_config(document, source="test")).last_step == 2


def test_a_question_that_stands_twice_is_refused_in_any_format(tmp_path: Path) -> None:
    (tmp_path / "a.toyrun").write_text("1|p0=2.0\n1|p1=1.0\n")
    with pytest.raises(RowError, match=r"a\.toyrun:2: the question id '1' stands twice"):
        read_run(tmp_path / "a.toyrun")
