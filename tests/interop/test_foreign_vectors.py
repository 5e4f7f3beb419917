"""Vectors made elsewhere give the files and metrics of an index of ours; broken ones do not."""

from __future__ import annotations

import json
from pathlib import Path

import faiss
import numpy as np
import pytest
from command import run
from hypothesis import given, settings
from hypothesis import strategies as st

from art.data.passages import PassageStore
from art.errors import ArtError
from art.retriever.embedding import embed_passages
from art.retriever.foreign_vectors import open_foreign_index, read_question_vectors
from art.retriever.loading import create_retriever
from art.retriever.shards import shard_path


@pytest.fixture(scope="module")
def files(corpus, tiny_bert, tmp_path_factory) -> Path:
    """A corpus, labelled questions, an index of ours, and the same vectors as other tools keep."""
    from art.data.tokens import TokenStore

    folder = tmp_path_factory.mktemp("vectors")
    rows = ["id\ttext\ttitle", *(f"{name}\t{text}\t{title}" for name, title, text in corpus)]
    (folder / "passages.tsv").write_text("\n".join(rows) + "\n")
    asked = [
        {"id": f"q{i}", "question": corpus[i][2], "positive_passage_ids": [corpus[i][0]]}
        for i in range(5)
    ]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, asked)))
    retriever = create_retriever(str(tiny_bert), passage_length=64, pooling="mean")
    retriever.save(folder / "retriever")
    store = PassageStore.open_or_build(folder / "passages.tsv", progress=False)
    tokens = TokenStore.open_or_build(store, retriever.passage_template, progress=False)
    index = embed_passages(retriever, tokens, folder / "index", store=store, progress=False)
    vectors = index.vectors(range(len(index)))
    np.save(folder / "ours.npy", vectors)
    questions = retriever.embed_questions([one["question"] for one in asked])
    np.save(folder / "questions.npy", questions)
    order = np.random.default_rng(0).permutation(len(vectors))
    np.save(folder / "mixed.npy", vectors[order].astype(np.float64))
    ids = "".join(f"{corpus[row][0]}\n" for row in order)
    (folder / "mixed.txt").write_text(ids)
    (folder / "pyserini").mkdir()
    flat = faiss.IndexFlatIP(vectors.shape[1])
    flat.add(vectors[order])
    faiss.write_index(flat, str(folder / "pyserini" / "index"))
    (folder / "pyserini" / "docid").write_text(ids.removesuffix("\n"))
    faiss.write_index(flat, str(folder / "flat.faiss"))
    return folder


@pytest.fixture
def store(files) -> PassageStore:
    return PassageStore.open_or_build(files / "passages.tsv", progress=False)


def asked(files: Path, command: str, *options) -> int:
    return run(command, "--questions", files / "questions.jsonl", "--cpu", *options)


SOURCES = {
    "numpy in the order of the corpus": ("ours.npy",),
    "numpy with ids": ("mixed.npy", "--ids", "mixed.txt"),
    "a folder of Pyserini": ("pyserini",),
    "a FAISS file with ids": ("flat.faiss", "--ids", "mixed.txt"),
    "an index of ours": ("index",),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("ending", ["trec", "json"])
def test_result_files_and_metrics_are_those_of_our_index(files, tmp_path, source, ending) -> None:
    ours = ("--retriever", files / "retriever", "--index", files / "index")
    name, *ids = SOURCES[source]
    theirs = ("--index", files / name, *(files / one if "." in one else one for one in ids))
    theirs += ("--question-vectors", files / "questions.npy", "--passages", files / "passages.tsv")
    for name, options in {"ours": ours, "theirs": theirs}.items():
        results = ("--output", tmp_path / f"{name}.{ending}", "--top-k", "20")
        assert asked(files, "search", *options, *results) == 0
        assert asked(files, "evaluate", *options, "--output", tmp_path / f"{name}.metrics") == 0
    found = (tmp_path / f"theirs.{ending}").read_bytes()
    assert found == (tmp_path / f"ours.{ending}").read_bytes()
    ours, theirs = (
        json.loads((tmp_path / f"{one}.metrics").read_text()) for one in ("ours", "theirs")
    )
    assert theirs["metrics"] == ours["metrics"] and theirs["table"] == ours["table"]
    assert theirs["retriever"] == str(files / "questions.npy")


def test_vectors_made_elsewhere_are_fused_with_bm25_as_ours_are(files, tmp_path) -> None:
    ours = ("--retriever", files / "retriever", "--index", files / "index")
    theirs = ("--index", files / "mixed.npy", "--ids", files / "mixed.txt")
    theirs += ("--question-vectors", files / "questions.npy", "--passages", files / "passages.tsv")
    for name, options in {"ours": ours, "theirs": theirs}.items():
        fused = ("--fused", "--fused-weight", 0.4)
        results = ("--output", tmp_path / f"{name}.trec", "--top-k", 20)
        assert asked(files, "search", *options, *fused, *results) == 0
        metrics = ("--output", tmp_path / f"{name}.json")
        assert asked(files, "evaluate", *options, *fused, *metrics) == 0
    assert (tmp_path / "ours.trec").read_bytes() == (tmp_path / "theirs.trec").read_bytes()
    first, second = (
        json.loads((tmp_path / f"{one}.json").read_text()) for one in ("ours", "theirs")
    )
    assert first["tables"] == second["tables"] and first["metrics"] == second["metrics"]


def test_the_copy_is_made_once_and_again_when_the_matrix_changes(
    files, store, tmp_path, caplog
) -> None:
    np.save(tmp_path / "vectors.npy", np.load(files / "ours.npy").astype(np.float16))
    first = open_foreign_index(tmp_path / "vectors.npy", store, cache=tmp_path / "cache")
    assert first.manifest.dtype == "float16"
    again = open_foreign_index(tmp_path / "vectors.npy", store, cache=tmp_path / "cache")
    assert again.folder == first.folder
    assert sum("copying" in one.message for one in caplog.records) == 1
    assert sum("no ids are given" in one.message for one in caplog.records) == 2
    shard_path(first.folder, 0).unlink()  # damage is repaired from the matrix
    open_foreign_index(tmp_path / "vectors.npy", store, cache=tmp_path / "cache")
    np.save(tmp_path / "vectors.npy", np.load(files / "ours.npy"))
    other = open_foreign_index(tmp_path / "vectors.npy", store, cache=tmp_path / "cache")
    assert other.folder != first.folder and other.manifest.dtype == "float32"


def test_many_shards_in_any_order_keep_each_row(
    files, store, corpus, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("art.retriever.foreign_vectors._SHARD_ROWS", 7)
    index = open_foreign_index(files / "mixed.npy", store, ids=files / "mixed.txt", cache=tmp_path)
    assert np.array_equal(index.vectors(range(len(index))), np.load(files / "ours.npy"))


def broken(files: Path, folder: Path) -> dict[str, tuple[Path, Path | None, str]]:
    """Return what is wrong with vectors: (matrix, ids, message) by a name."""
    good = np.load(files / "ours.npy")
    names = (files / "mixed.txt").read_text().split()

    def matrix(name: str, value) -> Path:
        np.save(folder / f"{name}.npy", value)
        return folder / f"{name}.npy"

    def listed(name: str, ids: list[str]) -> Path:
        (folder / f"{name}.txt").write_text("\n".join(ids))
        return folder / f"{name}.txt"

    def flat(name: str, index) -> Path:
        faiss.write_index(index, str(folder / name))
        return folder / name

    nan = good.copy()
    nan[17, 3] = np.nan
    cut = folder / "cut.faiss"
    cut.write_bytes((files / "flat.faiss").read_bytes()[:-4])
    lying = folder / "lying.faiss"
    whole = (files / "flat.faiss").read_bytes()
    lying.write_bytes(whole[:8] + (1 << 60).to_bytes(8, "little") + whole[16:])
    half = folder / "half.npy"
    half.write_bytes((files / "ours.npy").read_bytes()[:-1])
    objects = folder / "objects.npy"
    np.save(objects, np.array([[{}]]), allow_pickle=True)
    archive = folder / "archive.npy"
    with open(archive, "wb") as file:
        np.savez(file, good)
    return {
        "an archive": (archive, None, "an archive of arrays"),
        "too few": (matrix("few", good[:-1]), None, "59 vectors for 60 passages"),
        "not finite": (matrix("nan", nan), None, r"row 17 .* not finite in float32"),
        "too large": (matrix("large", good.astype(float) * 1e300), None, "not finite in float32"),
        "whole numbers": (matrix("whole", good.astype(int)), None, "not a matrix of real numbers"),
        "one row": (matrix("row", good[0]), None, "not a matrix of real numbers"),
        "empty": (matrix("empty", good[:, :0]), None, "an empty matrix"),
        "objects": (objects, None, "not a matrix that numpy.save wrote"),
        "half a file": (half, None, "not a matrix that numpy.save wrote"),
        "nothing": (folder / "nothing.npy", None, "cannot read"),
        "no file of FAISS": (folder / "nothing", None, "name a .npy matrix"),
        "a text": (files / "passages.tsv", None, "not a flat FAISS index"),
        "cut": (cut, None, r"60 rows of 32 numbers, but has 7676 bytes"),
        "lying": (lying, None, "bytes of them"),
        "distances": (flat("l2", faiss.IndexFlatL2(32)), None, "not a flat FAISS index"),
        "a graph": (flat("hnsw", faiss.IndexHNSWFlat(32, 4)), None, "not a flat FAISS index"),
        "another metric": (
            flat("l1", faiss.IndexFlat(32, faiss.METRIC_L1)),
            None,
            "not a flat|of metric",
        ),
        "ids missing": (files / "mixed.npy", listed("short", names[1:]), "59 ids for 60 vectors"),
        "ids twice": (
            files / "mixed.npy",
            listed("twice", [names[1], *names[1:]]),
            "stand there twice, and 1 passages have none",
        ),
        "other ids": (
            files / "mixed.npy",
            listed("other", ["x", "y", *names[2:]]),
            "2 of 60 ids are not in the corpus, such as 'x' in line 1",
        ),
    }


NAMES = (
    "an archive",
    "too few", "not finite", "too large", "whole numbers", "one row", "empty", "objects",
    "half a file", "nothing", "no file of FAISS", "a text", "cut", "lying", "distances", "a graph",
    "another metric", "ids missing", "ids twice", "other ids",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_vectors_that_cannot_be_right_are_one_clear_line(files, store, tmp_path, name) -> None:
    matrix, ids, message = broken(files, tmp_path)[name]
    with pytest.raises(ArtError, match=message) as caught:
        open_foreign_index(matrix, store, ids=ids, cache=tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert str(ids or matrix) in str(caught.value)
    assert not list((tmp_path / "cache").glob("vectors/*/"))


def test_question_vectors_are_held_against_the_questions_and_the_index(
    files, store, tmp_path
) -> None:
    index = open_foreign_index(files / "ours.npy", store)
    with pytest.raises(ArtError, match=r"\[5, 32\], expected \[6, 32\]"):
        read_question_vectors(files / "questions.npy", 6, index)
    np.save(tmp_path / "wide.npy", np.zeros((5, 33)))
    with pytest.raises(ArtError, match=r"\[5, 33\], expected \[5, 32\]"):
        read_question_vectors(tmp_path / "wide.npy", 5, index)
    np.save(tmp_path / "nan.npy", np.full((5, 32), np.inf))
    with pytest.raises(ArtError, match=r"nan\.npy: row 0 .* not finite"):
        read_question_vectors(tmp_path / "nan.npy", 5, index)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "a retriever or vectors, and not both"),
        (("--retriever", "retriever", "--question-vectors", "questions.npy"), "and not both"),
        (("--retriever", "retriever", "--ids", "mixed.txt"), "--ids is for vectors made elsewhere"),
        (
            ("--question-vectors", "questions.npy", "--question-prefix", "q: "),
            "--question-prefix: settings of a retriever",
        ),
        (("--question-vectors", "questions.npy"), "without the passages they are of"),
    ],
)
@pytest.mark.parametrize("command", ["search", "evaluate"])
def test_options_that_contradict_each_other_are_refused(
    files, tmp_path, capsys, options, message, command
) -> None:
    named = [one if one.startswith("--") else files / one for one in options]
    output = ("--output", tmp_path / "run.trec")
    assert asked(files, command, "--index", files / "ours.npy", *named, *output) == 1
    assert message in capsys.readouterr().err


def test_vectors_answer_no_prompt(files, capsys) -> None:
    vectors = ("--question-vectors", files / "questions.npy")
    assert run("search", "--index", files / "ours.npy", *vectors) == 1
    assert "vectors of which questions?" in capsys.readouterr().err


@given(st.data())
@settings(max_examples=60)
def test_a_changed_header_is_read_right_or_refused(files, tmp_path_factory, data) -> None:
    whole = bytearray((files / "flat.faiss").read_bytes())
    at = data.draw(st.integers(0, 44))
    whole[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("changed") / "flat.faiss"
    path.write_bytes(whole)
    store = PassageStore.open_or_build(files / "passages.tsv", progress=False)
    try:
        index = open_foreign_index(path, store, ids=files / "mixed.txt")
    except ArtError as error:
        assert "\n" not in str(error)
    else:
        assert index.embedding_size == 32 and len(index) == 60
