"""The command line as a user meets it: embed, search, evaluate, train, and its complaints."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command import run
from thread_ranks import in_world
from tiny_teachers import make_reranker

from art import distributed
from art.cli import fusing
from art.data.formats import read_run
from art.evaluation import sharing
from art.retriever.fusion import Fusion


@pytest.fixture(scope="module")
def files(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    rows = ["id\ttext\ttitle", *(f"{name}\t{text}\t{title}" for name, title, text in corpus)]
    (folder / "passages.tsv").write_text("\n".join(rows) + "\n")
    asked = [
        {"id": f"q{i}", "question": corpus[i][2], "positive_passage_ids": [corpus[i][0]]}
        for i in range(5)
    ]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (folder / "qrels.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\t{corpus[i][0]}\t1\n" for i in range(5))
    )
    (folder / "train.txt").write_text("\n".join(f"who is {i} of moon ?" for i in range(20)))
    return folder


@pytest.fixture(scope="module")
def retriever(tiny_bert, tmp_path_factory) -> Path:
    from art.retriever.loading import create_retriever

    folder = tmp_path_factory.mktemp("start") / "retriever"
    create_retriever(str(tiny_bert), passage_length=64, pooling="mean").save(folder)
    return folder


@pytest.fixture(scope="module")
def index(files, retriever, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "index"
    assert run(
        "embed", "--retriever", retriever, "--passages", files / "passages.tsv",
        "--output", folder, "--cpu",
    ) == 0  # fmt: skip
    return folder


def test_help_is_quick_because_it_loads_nothing_heavy() -> None:
    check = (
        "import sys, art.cli\n"
        "sys.argv = ['art', '--help']\n"
        "try:\n    art.cli.main()\n"
        "except SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'transformers', 'pydantic', 'numpy') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert "evaluate" in done.stdout
    assert done.stdout.strip().endswith("[]")


def test_train_help_lists_every_setting(capsys) -> None:
    assert run("train", "--help") == 0
    printed = capsys.readouterr().out
    assert "--training.learning_rate  (default 2e-05)" in printed
    assert "--retriever.model  (required)" in printed


def test_search_writes_a_trec_run_and_dprs_json(files, retriever, index, tmp_path) -> None:
    common = ["--retriever", retriever, "--index", index, "--questions", files / "questions.jsonl"]
    assert run("search", *common, "--top-k", 7, "--output", tmp_path / "run.trec", "--cpu") == 0
    lines = (tmp_path / "run.trec").read_text().splitlines()
    assert len(lines) == 5 * 7
    assert lines[0].split()[:2] == ["q0", "Q0"]
    assert [line.split()[3] for line in lines[:7]] == list("1234567")
    assert run("search", *common, "--top-k", 7, "--output", tmp_path / "run.json", "--cpu") == 0
    found = json.loads((tmp_path / "run.json").read_text())
    assert [hit["id"] for hit in found[0]["ctxs"]] == [line.split()[2] for line in lines[:7]]


def test_a_wrong_ending_of_the_output_is_refused_before_anything_is_loaded(
    files, tmp_path, capsys
) -> None:
    words = ["search", "--retriever", "none", "--index", "none", "--questions"]
    assert run(*words, files / "questions.jsonl", "--output", tmp_path / "run.csv") == 1
    assert ".trec" in capsys.readouterr().err


def test_ids_that_the_output_cannot_hold_are_refused_before_the_work(
    files, retriever, tmp_path, capsys, monkeypatch
) -> None:
    spaced, corpus_file = tmp_path / "spaced.jsonl", tmp_path / "corpus.jsonl"
    spaced.write_text('{"id": "q 1", "question": "who"}\n')
    corpus_file.write_text('{"id": "p 1", "text": "moon"}\n{"id": "p2", "text": "sun"}\n')
    found, never = tmp_path / "found.json", tmp_path / "never.trec"
    output = ["--questions", spaced, "--output", never, "--cpu"]
    assert run("search", "--retriever", "none", "--index", "none", *output) == 1
    assert "the question id 'q 1' is empty or holds white space" in capsys.readouterr().err
    found.write_text('[{"id": "q 1", "ctxs": [{"id": "p2"}]}]')
    words = ["score", "--teacher", "none", "--passages", "none", "--run", found]
    assert run(*words, *output) == 1
    assert "the question id 'q 1'" in capsys.readouterr().err
    found.write_text('{"q0": {"p 1": 2, "p2": 1}}')
    output = ["--questions", files / "questions.jsonl", "--output", never, "--cpu"]
    assert run(*words, *output) == 1
    assert "the passage id 'p 1'" in capsys.readouterr().err
    made = ["--retriever", retriever, "--passages", corpus_file, "--output", tmp_path / "index"]
    assert run("embed", *made, "--cpu") == 0
    monkeypatch.setattr("art.retriever.index.Index.search", None)  # it would be called in vain
    asked = ["--retriever", retriever, "--index", tmp_path / "index"]
    assert run("search", *asked, *output) == 1
    assert "the passage id 'p 1'" in capsys.readouterr().err and not never.exists()


def test_a_folder_of_something_else_is_not_made_an_index(files, retriever, tmp_path, capsys):
    (tmp_path / "manifest.json").write_text("{}")
    words = ["embed", "--retriever", retriever, "--passages", files / "passages.tsv", "--cpu"]
    assert run(*words, "--output", tmp_path) == 1
    assert "not an index" in capsys.readouterr().err
    assert (tmp_path / "manifest.json").read_text() == "{}"


def test_score_reorders_a_run_of_either_format(
    files, retriever, index, tiny_llama, tmp_path, capsys
) -> None:
    asked = ["--questions", files / "questions.jsonl"]
    for ending in ("trec", "json"):
        found = tmp_path / f"run.{ending}"
        searched = ["--retriever", retriever, "--index", index, "--top-k", 7, "--output", found]
        assert run("search", *asked, *searched, "--cpu") == 0
    options = [*asked, "--passages", files / "passages.tsv", "--teacher", tiny_llama, "--cpu"]
    orders = []
    for given, written in (("trec", "json"), ("json", "trec")):
        output = tmp_path / f"scored.{written}"
        words = ["--run", tmp_path / f"run.{given}", "--output", output, "--reduction", "sum"]
        assert run("score", *options, *words, "--dtype", "float32") == 0
        assert "5 questions, 35 pairs" in capsys.readouterr().out
        orders.append(read_run(output).passage_ids)
    assert orders[0] == orders[1] != read_run(tmp_path / "run.trec").passage_ids
    (tmp_path / "other.jsonl").write_text('{"id": "q9", "question": "who"}')
    words = ["--run", tmp_path / "run.trec", "--output", tmp_path / "never.json"]
    assert run("score", *options, "--questions", tmp_path / "other.jsonl", *words) == 1
    assert "5 of 5 questions of the run are not among" in capsys.readouterr().err


def test_score_takes_a_reranker_or_likely_answers(
    files, retriever, index, tiny_bert, tiny_llama, tmp_path, capsys
) -> None:
    questions = files / "questions.jsonl"
    found = tmp_path / "run.trec"
    asked = ["--questions", questions, "--retriever", retriever, "--index", index, "--cpu"]
    assert run("search", *asked, "--top-k", 7, "--output", found) == 0
    reranker = make_reranker(tiny_bert, tmp_path / "reranker", "bert", 1)
    common = ["--passages", files / "passages.tsv", "--run", found, "--cpu"]
    crossed = ["--teacher", reranker, "--kind", "cross-encoder", "--max-length", 64]
    output = ["--questions", questions, "--output", tmp_path / "crossed.trec"]
    assert run("score", *common, *crossed, *output) == 0
    assert read_run(tmp_path / "crossed.trec").passage_ids != read_run(found).passage_ids
    capsys.readouterr()
    assert run("score", *common, *crossed, *output, "--prompt", "{passage}") == 1
    said = capsys.readouterr().err
    assert "teacher.passage_prompt: means nothing to teacher.kind cross-encoder" in said
    rows = [json.loads(line) for line in questions.read_text().splitlines()]
    answered, unanswered = tmp_path / "answered.jsonl", tmp_path / "unanswered.jsonl"
    answered.write_text("\n".join(json.dumps({**row, "answers": ["moon"]}) for row in rows))
    unanswered.write_text("\n".join(json.dumps({**row, "answers": None}) for row in rows))
    likely = ["--teacher", tiny_llama, "--kind", "answer-likelihood"]
    output = ["--output", tmp_path / "likely.trec"]
    assert run("score", *common, *likely, *output, "--questions", answered) == 0
    assert run("score", *common, *likely, *output, "--questions", unanswered) == 1
    assert "5 of 5 questions have no answer" in capsys.readouterr().err


def test_evaluate_prints_and_writes_metrics(files, retriever, index, tmp_path, capsys) -> None:
    common = ["--retriever", retriever, "--index", index, "--questions", files / "questions.jsonl"]
    options = ["--qrels", files / "qrels.tsv", "--output", tmp_path / "m.json", "--cpu"]
    assert run("evaluate", *common, *options) == 0
    assert "top-20" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "m.json").read_text())["metrics"]
    assert {"top_1", "top_20", "ndcg@10", "mrr@10"} <= set(metrics)


@pytest.mark.parametrize("kind", ["IVF1,Flat", "HNSW4"])
def test_an_approximate_index_says_its_recall_and_is_evaluated(
    kind, files, retriever, index, tmp_path, capsys
) -> None:
    common = ["--retriever", retriever, "--cpu"]
    words = ["--passages", files / "passages.tsv", "--output", tmp_path / "index"]
    assert run("embed", *common, *words, "--index-kind", kind) == 0
    said = capsys.readouterr().out.strip()
    assert f"float32, {kind}, " in said and said.endswith("against exact search, on 60 passages")
    asked = ["--questions", files / "questions.jsonl"]
    for name, one in {"exact": index, "approximate": tmp_path / "index"}.items():
        output = ["--output", tmp_path / f"{name}.json"]
        assert run("evaluate", *common, *asked, "--index", one, *output) == 0
    assert f"index: {kind}" in capsys.readouterr().err
    exact, found = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("exact", "approximate")
    )
    assert found["metrics"] == exact["metrics"]
    assert exact["search"] == "exact" and said.endswith(found["search"])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--index-kind", "PQ8"], "--index-kind PQ8: a kind is exact, IVF4096,Flat"),
        (["--nprobe", "3"], "--nprobe is of lists"),
        (["--index-kind", "IVF1,Flat", "--ef-search", "9"], "--ef-search is of a graph"),
        (["--index-kind", "IVF2,Flat"], "takes 78 passages to train, and there are 60"),
    ],
)
def test_a_kind_that_cannot_be_is_one_line(
    options, complaint, files, retriever, tmp_path, capsys
) -> None:
    words = ["--retriever", retriever, "--passages", files / "passages.tsv", "--cpu", *options]
    assert run("embed", *words, "--output", tmp_path) == 1
    (line,) = [one for one in capsys.readouterr().err.splitlines() if one.startswith("error: ")]
    assert complaint in line
    assert not list(tmp_path.glob("shard-*"))


def test_a_named_benchmark_shows_the_published_figures_and_finds_its_own_files(
    files, retriever, index, tmp_path, capsys
) -> None:
    fetched = tmp_path / "data" / "beir" / "scifact"
    words = ["evaluate", "--retriever", retriever, "--index", index, "--cpu"]
    named = ["--benchmark", "beir:scifact", "--data", tmp_path / "data"]
    assert run(*words, *named) == 1
    assert f"art fetch beir:scifact --output {tmp_path / 'data'}" in capsys.readouterr().err
    (fetched / "qrels").mkdir(parents=True)
    (fetched / "queries.jsonl").write_text((files / "questions.jsonl").read_text())
    (fetched / "qrels" / "test.tsv").write_text((files / "qrels.tsv").read_text())
    results = tmp_path / "results"
    assert run(*words, *named, "--output", results / "scifact.json") == 0
    said = capsys.readouterr().out
    assert "beir:scifact: SciFact, test" in said and "Thakur et al. 2021" in said
    assert "note: 5 questions; the benchmark has 300: not the published task" in said
    kept = json.loads((results / "scifact.json").read_text())["benchmark"]
    (art,) = (one for one in kept["published"] if one["system"].startswith("ART"))
    assert art["values"] == {"ndcg@10": 55.2, "recall@100": 88.0}
    assert art["ours_is"]["recall@100"] == "above"
    assert run("evaluate", "--benchmark", "beir", "--results", results) == 0
    assert "note: 1 of 15 sets, not the published mean" in capsys.readouterr().out
    assert run("evaluate", "--benchmark", "beir", "--index", index) == 1
    assert "--benchmark beir --results FOLDER" in capsys.readouterr().err


def test_a_result_file_of_any_program_is_held_against_what_was_published(
    files, tmp_path, capsys
) -> None:
    lines = (f"q{i} Q0 p{j} {j + 1} {-j} x\n" for i in range(5) for j in range(10))
    (tmp_path / "run.trec").write_text("".join(lines))
    words = ["evaluate", "--run", tmp_path / "run.trec", "--qrels", files / "qrels.tsv"]
    words += ["--questions", files / "questions.jsonl", "--output", tmp_path / "m.json"]
    assert run(*words, "--benchmark", "beir:trec-covid") == 0
    said = capsys.readouterr().out
    assert "beir:trec-covid: TREC-COVID, test" in said
    assert "capped recall@100 was not computed: the ranking is not that deep" in said
    kept = json.loads((tmp_path / "m.json").read_text())["benchmark"]
    assert [one["metric"] for one in kept["measured"]] == ["ndcg@10"]


def test_a_retrievers_settings_are_taken_and_said(files, tiny_bert, tmp_path, capsys) -> None:
    given = ["--pooling", "mean", "--normalize", "--question-prefix", "ask: ", "--cpu"]
    given += ["--passage-prefix", "read: ", "--question-length", 32, "--passage-length", 48]
    passages = ["--passages", files / "passages.tsv", "--output", tmp_path / "index"]
    assert run("embed", "--retriever", tiny_bert, *passages, *given) == 0
    used = (
        "retriever: pooling mean, normalised, questions of 32 tokens after 'ask: ',"
        " passages of 48 after 'read: ', title and text joined by a separator\n"
    )
    assert capsys.readouterr().err.count(used) == 1
    common = ["--retriever", tiny_bert, "--index", tmp_path / "index"]
    common += ["--questions", files / "questions.jsonl"]
    assert run("evaluate", *common, *given) == 0
    assert run("search", *common, *given, "--output", tmp_path / "run.trec") == 0
    capsys.readouterr()
    others = [*given[:-1], 40]
    assert run("search", *common, *others, "--output", tmp_path / "run.trec") == 1
    assert "was made by retriever" in capsys.readouterr().err
    mined = ["--bm25", "--passages", files / "passages.tsv", "--output", tmp_path / "m.jsonl"]
    assert run("mine", *common[-2:], *mined, "--pooling", "mean") == 1
    assert "nothing to search, or two things" in capsys.readouterr().err


def test_every_command_says_once_what_it_cuts(files, tiny_bert, tmp_path, capsys, monkeypatch):
    model = ["--retriever", tiny_bert, "--pooling", "mean", "--passage-length", 12]
    model += ["--question-length", 9, "--cpu"]
    passages = ["--passages", files / "passages.tsv", "--output", tmp_path / "index"]
    said = {
        "question": "5 of 5 questions have more than 9 tokens and are cut there (--question-length",
        "passage": "60 of 60 passages have more than 12 tokens and are cut there (--passage-length",
    }

    def lines(kind: str) -> int:
        return capsys.readouterr().err.count(f"note: {said[kind]}")

    assert run("embed", *model, *passages) == 0 and lines("passage") == 1
    asked = [*model, "--index", tmp_path / "index", "--questions", files / "questions.jsonl"]
    for command, output in (("search", "run.trec"), ("evaluate", "m.json"), ("mine", "m.jsonl")):
        assert run(command, *asked, "--output", tmp_path / output) == 0
        assert lines("question") == 1, command
    assert said["question"] in json.loads((tmp_path / "m.json").read_text())["notes"][0]
    monkeypatch.setattr(sys, "stdin", io.StringIO("the moon\n" + "the moon " * 9 + "\n"))
    assert run("search", *asked[:-2]) == 0
    assert capsys.readouterr().err.count("1 of 1 questions have more than 9 tokens") == 1


def test_weights_that_did_not_build_the_index_are_refused(
    files, tiny_bert, index, tmp_path, capsys
) -> None:
    from art.retriever.loading import create_retriever

    other = tmp_path / "other"
    create_retriever(str(tiny_bert), passage_length=64, pooling="cls").save(other)
    capsys.readouterr()
    status = run(
        "search", "--retriever", other, "--index", index, "--questions",
        files / "questions.jsonl", "--output", tmp_path / "run.trec", "--cpu",
    )  # fmt: skip
    assert status == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "was made by retriever" in message
    assert not (tmp_path / "run.trec").exists()


def test_train_runs_from_a_file_with_overrides(files, tiny_bert, tiny_llama, tmp_path, capsys):
    config = {
        "data": {"passages": "elsewhere.tsv", "questions": str(files / "train.txt")},
        "retriever": {"model": str(tiny_bert), "passage_length": 24},
        "teacher": {"model": str(tiny_llama), "dtype": "float32"},
        "training": {
            "questions_per_step": 4,
            "questions_per_micro_batch": 4,
            "top_k": 4,
            "max_steps": 1,
            "cpu": True,
        },
        "output": {"folder": str(tmp_path / "run")},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    words = ["train", "--config", tmp_path / "c.yaml", "--data.passages", files / "passages.tsv"]
    assert run(*words, "--evaluation.questions", files / "questions.jsonl") == 0
    printed = "".join(capsys.readouterr())
    assert "after training" in printed
    assert printed.count("of 60 passages have more than 24 tokens and are cut there") == 1
    assert "questions have more" not in printed
    assert (tmp_path / "run" / "retriever" / "retriever.json").exists()
    # What was null is what the start had, and the same settings go on with that run.
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["retriever"]
    assert (written["tied"], written["pooling"], written["question_length"]) == (True, "cls", 64)
    assert written["normalize"] is False and written["title_join"] == "separator"
    assert run(*words, "--evaluation.questions", files / "questions.jsonl") == 0
    again = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["retriever"]
    assert again == written
    other = ["--evaluation.questions", files / "questions.jsonl", "--retriever.pooling", "mean"]
    assert run(*words, *other) == 1
    assert "retriever.pooling: 'cls' → 'mean'" in capsys.readouterr().err
    assert run(*words, "--evaluation.questions", files / "questions.jsonl") == 0
    assert "finished before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["train"], "--config is missing"),
        (["train", "--config", "none.yaml"], "none.yaml: no such config file"),
        (["embed", "--retriever", "x", "--passages", "none.tsv", "--output", "o"], "'x'"),
    ],
)
def test_complaints_are_one_line_with_status_1(words, complaint, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 1
    message = capsys.readouterr().err
    assert complaint in message
    assert "Traceback" not in message


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("fusion", [None, Fusion("ranks")])
def test_several_processes_find_what_one_finds(size, fusion, monkeypatch) -> None:
    class Asking:
        def embed_questions(self, texts: list[str]) -> np.ndarray:
            return np.array([[len(text), len(texts)] for text in texts])  # depends on its block

    class Searcher:
        index = range(40)

        def search_for_all(self, ask: Any, top_k: int):
            asked = distributed.together(ask)
            vectors = np.concatenate([one for one in asked if one is not None])
            return vectors[:, 1:] * np.ones(top_k), vectors[:, :1] + np.arange(top_k)

    class Words:
        def search(self, texts: list[str], top_k: int):
            rows = np.array([[len(text), 30] for text in texts], int).reshape(-1, 2)
            return np.ones(rows.shape), rows

        def most(self, texts: list[str]):
            return np.ones(len(texts))

    monkeypatch.setattr(sharing, "_EMBED_BLOCK", 2)
    texts = ["a" * length for length in (5, 3, 8, 1, 9)]

    def find():
        return fusing.found_together(Searcher(), Words(), fusion, Asking(), texts, 2)

    for scores, rows in in_world(size, find, monkeypatch):
        second = [len(text) + 1 if fusion is None else 30 for text in texts]
        assert rows.tolist() == [
            [len(text), other] for text, other in zip(texts, second, strict=True)
        ]
        if fusion is None:
            assert scores[:, 0].tolist() == [2, 2, 2, 2, 1]
