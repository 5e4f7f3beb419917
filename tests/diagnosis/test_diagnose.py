"""Diagnosing a teacher: metrics against plain re-rankings, and the command as it prints."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from command import run
from tiny_teachers import make_reranker

from art.data.formats import Passage, Question
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.diagnosis.candidates import choose_questions
from art.diagnosis.diagnose import Diagnosis, diagnose
from art.diagnosis.scoring import kept_scores
from art.diagnosis.watching import Estimate, Interim, Watcher
from art.errors import ArtError, MismatchError
from art.evaluation.rerank import score_rows
from art.planning.label_entropy import LabelEntropy
from art.retriever.bm25 import BM25
from art.retriever.embedding import embed_passages
from art.retriever.loading import create_retriever
from art.teacher.cached import CachedTeacher
from art.teacher.registry import load_teacher

PROMPTS = ["Passage: {passage} . Ask.", "{passage}"]


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    folder = tmp_path_factory.mktemp("diagnosis") / "store"
    return PassageStore.build(
        [Passage(*one) for one in corpus], folder, source="test", progress=False
    )


def asked(corpus, *, labelled: bool = True) -> list[Question]:
    return [
        Question(
            f"q{i}",
            " ".join(text.split()[3 : 8 + i % 4]),
            positive_passage_ids=frozenset({name} if labelled else ()),
        )
        for i, (name, _, text) in enumerate(corpus[:12])
    ]


def open_teacher(folder: Path, store: PassageStore, prompt: str, **given: object) -> CachedTeacher:
    teacher = load_teacher(
        str(folder), dtype="float32", device="cpu", passage_prompt=prompt, **given
    )
    return CachedTeacher(
        teacher, None, TokenStore.open_or_build(store, teacher.template, progress=False)
    )


def teachers(folder: Path, store: PassageStore, prompts: list[str], **given: object) -> dict:
    return {prompt: partial(open_teacher, folder, store, prompt, **given) for prompt in prompts}


def test_figures_are_those_of_plain_rerankings(corpus, store, tiny_llama, tiny_bert) -> None:
    questions = asked(corpus)
    student = create_retriever(str(tiny_bert), passage_length=64, pooling="mean")
    tokens = TokenStore.open_or_build(store, student.passage_template, progress=False)
    found = diagnose(
        teachers(tiny_llama, store, PROMPTS),
        store,
        questions,
        retriever=(student, tokens),
        top_k=16,
        depth=40,
        progress=False,
    )
    texts = [question.text for question in questions]
    _, rows = BM25.build(store).search(texts, 40)
    scores = score_rows(open_teacher(tiny_llama, store, PROMPTS[0]), texts, rows)
    gold = np.arange(12)[:, None]
    assert list(found.results) == [
        f"{name}{line}"
        for name in ("BM25", "retriever")
        for line in ("", ", first 20 re-ordered", ", first 40 re-ordered")
    ]
    for depth in (20, 40):
        order = np.argsort(-scores[:, :depth], axis=1, kind="stable")
        ranked = np.take_along_axis(rows[:, :depth], order, axis=1)
        metrics = found.results[f"BM25, first {depth} re-ordered"].metrics
        for k in (1, 5, 20):
            assert metrics[f"top_{k}"] == (ranked[:, :k] == gold).any(axis=1).mean()
        hit = (ranked[:, :5] == gold).any(axis=1)
        before = (rows[:, :5] == gold).any(axis=1)
        test = found.tests[f"BM25, first {depth} re-ordered"]
        assert (test.only_first, test.only_second) == ((hit & ~before).sum(), (before & ~hit).sum())
    assert found.agreements["BM25"].share == (scores[:, :16].argmax(axis=1) == 0).mean()

    # The last search's first K carry the soft labels, under every prompt.
    index_rows = found.results["retriever"].rows[:, :16]
    assert (found.source, found.top_k, list(found.prompts)) == ("retriever", 16, PROMPTS)
    for prompt in PROMPTS:
        likelihoods = score_rows(open_teacher(tiny_llama, store, prompt), texts, index_rows)
        label_entropy = found.prompts[prompt].label_entropy
        assert label_entropy.share == pytest.approx(LabelEntropy.of(likelihoods).share, abs=1e-6)
    assert found.prompts[PROMPTS[0]].label_entropy == found.label_entropies["mean"]
    assert found.pairs_per_second > 0


def test_mean_and_sum_are_the_same_whichever_the_teacher_takes(corpus, store, tiny_t5) -> None:
    by_mean, by_sum = (
        diagnose(
            teachers(tiny_t5, store, PROMPTS[:1], reduction=reduction),
            store,
            asked(corpus),
            depth=8,
            top_k=8,
            progress=False,
        ).label_entropies
        for reduction in ("mean", "sum")
    )
    for name in ("mean", "sum"):
        assert by_mean[name].share == pytest.approx(by_sum[name].share, abs=1e-6)
        assert by_mean[name].temperature == pytest.approx(by_sum[name].temperature, rel=1e-2)
    assert by_mean["sum"].share < by_mean["mean"].share  # longer sums are sharper


def test_without_labels_agreement_and_flatness_are_left(corpus, store, tiny_llama) -> None:
    found = diagnose(
        teachers(tiny_llama, store, PROMPTS[:1]),
        store,
        asked(corpus, labelled=False),
        depth=10,
        progress=False,
    )
    assert not found.results and not found.tests
    assert found.prompts[PROMPTS[0]].evaluation is None
    assert list(found.agreements) == ["BM25"] and 0 <= found.agreements["BM25"].share <= 1
    assert found.top_k == 32


def test_nothing_to_diagnose_is_one_clear_error(corpus, store, tiny_llama) -> None:
    with pytest.raises(ArtError, match="at least two passages and one question"):
        diagnose(teachers(tiny_llama, store, PROMPTS), store, [], progress=False)
    mixed = asked(corpus)[:3] + asked(corpus, labelled=False)[3:]
    with pytest.raises(ArtError, match="some questions have labels and some have none"):
        diagnose(teachers(tiny_llama, store, PROMPTS), store, mixed, progress=False)


class Noticing(Watcher):
    """Remembers what it saw; interrupts after so many blocks."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.estimates: list[Estimate] = []
        self.interims: list[Interim] = []
        self.stop_at, self.num_ended = stop_at, 0

    def estimated(self, estimate: Estimate) -> None:
        self.estimates.append(estimate)

    def scored(self, interim: Interim) -> None:
        self.interims.append(interim)
        if len(self.interims) == self.stop_at:
            raise KeyboardInterrupt

    def end(self) -> None:
        self.num_ended += 1


def test_an_index_gives_what_embedding_gives_and_embeds_nothing(
    corpus, store, tiny_llama, tiny_bert, tmp_path, monkeypatch
) -> None:
    student = create_retriever(str(tiny_bert), passage_length=64, pooling="mean")
    tokens = TokenStore.open_or_build(store, student.passage_template, progress=False)
    index = embed_passages(student, tokens, tmp_path / "index", store=store, progress=False)
    opened = teachers(tiny_llama, store, PROMPTS[:1])
    seen = [Noticing(), Noticing()]
    by_tokens, by_index = (
        diagnose(
            opened,
            store,
            asked(corpus),
            retriever=(student, passages),
            depth=10,
            top_k=10,
            progress=False,
            watcher=watcher,
        )
        for passages, watcher in zip((tokens, index), seen, strict=True)
    )
    for name, result in by_tokens.results.items():
        assert by_index.results[name].metrics == result.metrics
        np.testing.assert_array_equal(by_index.results[name].rows, result.rows)
    assert by_index.agreements == by_tokens.agreements and by_index.scales == by_tokens.scales
    # Before embedding there is an estimate of the most that may follow.
    assert [one.is_most for one in seen[0].estimates] == [True, False]
    assert [one.is_most for one in seen[1].estimates] == [False]

    monkeypatch.setattr("art.diagnosis.candidates.embed_passages", None)
    other = create_retriever(str(tiny_bert), passage_length=32, pooling="mean")
    with pytest.raises(MismatchError, match="the index was made by retriever"):
        diagnose(opened, store, asked(corpus), retriever=(other, index), progress=False)
    elsewhere = PassageStore.build(
        [Passage(*one) for one in corpus[1:]], tmp_path / "store", source="test", progress=False
    )
    with pytest.raises(MismatchError, match="the index holds passages"):
        diagnose(opened, elsewhere, asked(corpus), retriever=(student, index), progress=False)


def test_what_is_seen_on_the_way_ends_in_what_is_found(
    corpus, store, tiny_llama, tiny_bert, monkeypatch
) -> None:
    monkeypatch.setattr("art.teacher.grouped._groups_at_once", lambda *_: 7)
    student = create_retriever(str(tiny_bert), passage_length=64, pooling="mean")
    tokens = TokenStore.open_or_build(store, student.passage_template, progress=False)
    watcher, questions = Noticing(), asked(corpus)
    found = diagnose(
        teachers(tiny_llama, store, PROMPTS),
        store,
        questions,
        retriever=(student, tokens),
        depth=5,
        top_k=4,
        progress=False,
        watcher=watcher,
    )
    most, exact = watcher.estimates
    by_bm25, by_retriever = (found.results[name].rows[:, :5] for name in ("BM25", "retriever"))
    both = sum(len(set(one) & set(other)) for one, other in zip(by_bm25, by_retriever, strict=True))
    assert (most.num_pairs, most.num_further) == (12 * 2 * 5, 12 * 4)
    assert (exact.num_pairs, exact.num_twice, exact.num_known) == (12 * 2 * 5 - both, both, 0)
    done = [one.num_done for one in watcher.interims]
    assert len(done) > 3 and done == sorted(done) and done[-1] == 12 and watcher.num_ended == 1
    last = watcher.interims[-1]
    assert last.seconds_left == 0 and last.agreements == found.agreements
    assert {name: one.metrics for name, one in last.results.items()} == {
        name: one.metrics for name, one in found.results.items()
    }
    first = watcher.interims[0]
    hits = found.results["BM25, first 5 re-ordered"].hits[: first.num_done]
    shown = first.results["BM25, first 5 re-ordered"].metrics["top_1"]
    assert shown == hits[:, 0].mean() and first.seconds_left > 0


def test_a_killed_diagnosis_ends_as_one_that_was_not(
    corpus, store, tiny_llama, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("art.teacher.grouped._groups_at_once", lambda *_: 5)

    def once(folder: Path, stop_at: int | None = None) -> tuple[Noticing, Diagnosis | None]:
        watcher = Noticing(stop_at)
        with kept_scores(folder) as open_log:

            def opened() -> CachedTeacher:
                plain = open_teacher(tiny_llama, store, PROMPTS[0])
                log = open_log(plain.fingerprint)
                return CachedTeacher(plain.teacher, log, plain.passage_tokens)

            ways = {PROMPTS[0]: opened}
            settings = {"depth": 8, "top_k": 8, "progress": False, "watcher": watcher}
            try:
                return watcher, diagnose(ways, store, asked(corpus), **settings)
            except KeyboardInterrupt:
                return watcher, None

    _, whole = once(tmp_path / "whole")
    killed, nothing = once(tmp_path / "killed", stop_at=2)
    assert nothing is None and killed.num_ended == 1
    again, found = once(tmp_path / "killed")
    assert whole is not None and found is not None
    assert again.estimates[-1].num_known > 0
    assert again.estimates[-1].num_known + again.estimates[-1].num_pairs == 12 * 8
    for name, result in whole.results.items():
        np.testing.assert_array_equal(found.results[name].rows, result.rows)
        np.testing.assert_array_equal(found.results[name].scores, result.scores)
    known, third = once(tmp_path / "killed")
    assert known.estimates[-1].num_pairs == 0 and third is not None
    assert third.pairs_per_second > 0  # of the sample


def test_bm25_that_finds_nothing_is_said_and_left_out(store, tiny_llama, tiny_bert, capsys) -> None:
    questions = [
        Question(str(number), f"第{chr(0x4E00 + number)}座桥在哪里", ()) for number in range(3)
    ]
    opened = teachers(tiny_llama, store, PROMPTS[:1])
    with pytest.raises(ArtError, match="BM25 finds nothing for"):
        diagnose(opened, store, questions, depth=5, top_k=5, progress=False)
    retriever = create_retriever(str(tiny_bert), passage_length=32)
    tokens = TokenStore.open_or_build(store, retriever.passage_template, progress=False)
    watcher = Noticing()
    found = diagnose(
        opened,
        store,
        questions,
        retriever=(retriever, tokens),
        depth=5,
        top_k=5,
        progress=False,
        watcher=watcher,
    )
    assert list(found.agreements) == ["retriever"]
    assert "it is of no use" in capsys.readouterr().err
    assert [one.num_pairs for one in watcher.estimates] == [15, 15]


def test_questions_are_drawn_from_the_labelled_ones_in_their_order(corpus) -> None:
    questions = asked(corpus) + asked(corpus, labelled=False)
    drawn = choose_questions(questions, 5, seed=1)
    assert len(drawn) == 5 and drawn == [one for one in questions[:12] if one in drawn]
    assert drawn == choose_questions(questions, 5, seed=1)
    assert choose_questions(questions, 12, seed=1) == questions[:12]
    assert len(choose_questions(questions[12:], 99, seed=1)) == 12


def test_the_command_answers_every_question(
    corpus, tiny_llama, tiny_bert, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("art.planning.rates._ENOUGH_SECONDS", 0.01)
    rows = ["id\ttext\ttitle", *(f"{name}\t{text}\t{title}" for name, title, text in corpus)]
    (tmp_path / "passages.tsv").write_text("\n".join(rows) + "\n")
    for name, labelled in (("dev", True), ("plain", False)):
        lines = [
            {"question": one.text, "positive_passage_ids": sorted(one.positive_passage_ids)}
            for one in asked(corpus, labelled=labelled)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    config = {
        "data": {"passages": "p.tsv", "questions": str(tmp_path / "plain.jsonl")},
        "retriever": {"model": str(tiny_bert), "passage_length": 64},
        "teacher": {"model": str(tiny_llama), "dtype": "float32"},
        "training": {"questions_per_step": 4, "questions_per_micro_batch": 4, "top_k": 4},
        "evaluation": {"questions": str(tmp_path / "dev.jsonl")},
        "output": {"folder": str(tmp_path / "run")},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    common = ["--teacher", tiny_llama, "--passages", tmp_path / "passages.tsv", "--cpu"]

    words = ["--questions", tmp_path / "dev.jsonl", "--retriever", tiny_bert, "--depth", 60]
    prompts = [word for prompt in PROMPTS for word in ("--prompt", prompt)]
    assert run("diagnose", *common, *words, *prompts, "--config", tmp_path / "c.yaml") == 0
    printed = capsys.readouterr().out
    for expected in (
        "12 questions: % answered within the first k",
        "retriever, first 60 re-ordered",
        "suggested T",
        "Prompts, over retriever's first 4",
        "pairs a second here",
        "(480 pairs",  # 10 epochs of 3 steps, 4 questions, 4 passages
        "retrieving",
        "learning",
        "refreshing",
        "evaluating",
    ):
        assert expected in printed

    assert "Teacher and search blended over the first 60" in printed
    assert "retriever, weight 0.3" in printed and "BM25, weight 3" in printed
    assert "(scale: standard deviation within the lists: BM25 " in printed

    words = ["--questions", tmp_path / "dev.jsonl", "--config", tmp_path / "c.yaml"]
    assert run("diagnose", *common, *words) == 0
    printed = capsys.readouterr().out
    assert "min (480 pairs" in printed and "learning" not in printed
    assert "name a --retriever to count the rest" in printed
    reranker = make_reranker(tiny_bert, tmp_path / "reranker", "bert", 1)
    crossed = ["--teacher", reranker, "--kind", "cross-encoder", "--max-length", 64]
    words = ["--questions", tmp_path / "dev.jsonl", "--num-questions", 3]
    assert run("diagnose", *common[2:], *crossed, *words) == 0
    printed = capsys.readouterr().out
    assert "BM25, first 20 re-ordered" in printed and "mean and sum" not in printed

    words = ["--questions", tmp_path / "plain.jsonl", "--num-questions", 3]
    assert run("diagnose", *common, *words) == 0
    printed = capsys.readouterr().out
    assert "3 questions without labels" in printed and "configured" not in printed


def test_the_command_takes_an_index_that_fits_and_no_other(
    corpus, tiny_llama, tiny_bert, tmp_path: Path, capsys, caplog
) -> None:
    lines = [{"id": name, "title": title, "text": text} for name, title, text in corpus]
    for name, rows in (("passages", lines), ("others", lines[1:])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    questions = [
        {"question": one.text, "positive_passage_ids": sorted(one.positive_passage_ids)}
        for one in asked(corpus)
    ]
    (tmp_path / "dev.jsonl").write_text("\n".join(map(json.dumps, questions)))
    retriever = ["--retriever", tiny_bert, "--pooling", "mean", "--passage-length", 64]
    passages = ["--passages", tmp_path / "passages.jsonl", "--cpu"]
    index = tmp_path / "index"
    assert run("embed", *retriever, *passages, "--output", index, "--index-kind", "HNSW8") == 0
    teacher = ["--teacher", tiny_llama, "--dtype", "float32", "--max-length", 300]
    asking = [*teacher, "--questions", tmp_path / "dev.jsonl", "--depth", 7]
    caplog.clear()
    capsys.readouterr()
    assert run("diagnose", *asking, *passages, *retriever, "--index", index) == 0
    captured = capsys.readouterr()
    assert "embedding" not in captured.err
    assert "index: HNSW8, efSearch 128: recall@60 1.000 against exact search" in captured.err
    assert "retriever, first 7 re-ordered" in captured.out
    (estimate,) = (line for line in caplog.messages if "pairs to score" in line)
    assert "found by both searches" in estimate and "known" not in estimate
    caplog.clear()
    assert run("diagnose", *asking, *passages, *retriever, "--index", index) == 0
    assert capsys.readouterr().out.split("\n\n")[:-1] == captured.out.split("\n\n")[:-1]
    assert "0 pairs to score, besides" in caplog.text and "known already" in caplog.text

    others = ["--passages", tmp_path / "others.jsonl", "--cpu"]
    no_pooling = ["--retriever", tiny_bert, "--passage-length", 64]
    for wrong, said in (
        ([*passages, *no_pooling, "--index", index], "the index was made by retriever"),
        ([*others, *retriever, "--index", index], "the index holds passages"),
        ([*passages, *retriever, "--index", tmp_path], "no finished index here"),
        ([*passages, "--index", index], "name it: --retriever"),
        ([*passages, "--pooling", "mean"], "name it: --retriever"),
    ):
        assert run("diagnose", *asking, *wrong) == 1
        error = capsys.readouterr().err
        assert said in error and "scoring" not in error
