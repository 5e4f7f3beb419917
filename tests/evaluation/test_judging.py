"""Result files of any program judged without a model, against trec_eval on their own scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from command import run as art

from art.data.formats import Passage, Question, read_qrels, read_questions, read_run
from art.data.passages import PassageStore
from art.data.rows import BadRows
from art.errors import ArtError, MismatchError
from art.evaluation.judging import JudgedRun, judge_run
from art.evaluation.runs import write_run

CORPUS = [Passage(str(i), f"title {i}" * (i % 2), f"words of number {i} .") for i in range(40)]
QUESTIONS = [Question(f"q{i}", f"where is {i} ?", (f"number {i}",)) for i in range(6)]
QRELS = {f"q{i}": {str(i): 2, str(i + 20): 1, "39": 0} for i in range(6)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    folder = tmp_path_factory.mktemp("judging") / "store"
    return PassageStore.build(CORPUS, folder, source="test", progress=False)


def trec(path: Path, lines: list[tuple[str, str, float]]) -> Path:
    path.write_text("".join(f"{q} Q0 {p} 0 {score!r} t\n" for q, p, score in lines))
    return path


def judged(path: Path, **labels) -> JudgedRun:
    return judge_run(read_run(path), where=path, **labels)


@pytest.mark.parametrize("seed", range(4))
def test_runs_with_ties_and_repeated_passages_have_trec_evals_numbers(seed: int, tmp_path: Path):
    random = np.random.default_rng(seed)
    names = [*map(str, range(60)), "10a", "é", "z\u0301", "Ω", *(f"D-{i}" for i in range(90))]
    lines, qrels = [], {}
    for question in map(str, range(12)):  # integer ids, as of MS MARCO
        found = random.choice(names, 130, replace=bool(seed % 2))
        # Few different scores; some that only a float64 tells apart.
        scores = random.integers(0, 5, 130) / 3 + random.choice([0, 1e-12], 130)
        lines += [(question, str(p), float(s)) for p, s in zip(found, scores, strict=True)]
        judged_names = random.choice(names, 40, replace=False)
        qrels[question] = {str(p): int(random.integers(-1, 4)) for p in judged_names}
    random.shuffle(lines)
    lines = [(str(q), str(p), float(s)) for q, p, s in lines]
    run: dict[str, dict[str, float]] = {}
    for question, passage, score in lines:
        run.setdefault(question, {}).setdefault(passage, score)
    path = trec(tmp_path / "random.trec", lines)
    repeated = BadRows()
    found = judge_run(read_run(path, repeated), where=path, qrels=qrels)
    assert repeated.count == len(lines) - sum(map(len, run.values()))
    measures = {"ndcg@10": "ndcg_cut_10", "map@100": "map_cut_100", "recall@100": "recall_100"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(measures.values())).evaluate(run)
    for ours, name in measures.items():
        if ours not in found.metrics:  # repeated passages may leave fewer than 100
            assert seed % 2
            continue
        expected = [theirs[question.question_id][name] for question in found.questions]
        assert found.per_question[ours].tolist() == pytest.approx(expected, abs=1e-12)
    (tmp_path / "beir.json").write_text(json.dumps(run))
    again = judged(tmp_path / "beir.json", qrels=qrels)
    assert again.metrics == pytest.approx(found.metrics, abs=1e-12)


ENDINGS = [".trec", ".json", ".jsonl", ".pyserini.json", ".tsv"]


def test_a_corpus_in_every_form_gives_the_same_figures(store: PassageStore, tmp_path: Path):
    random = np.random.default_rng(5)
    rows = np.array([random.permutation(40)[:30] for _ in QUESTIONS])
    scores = -np.sort(-random.normal(size=rows.shape), axis=1)
    (tmp_path / "beir").mkdir()
    corpora, asked, judgements = {}, {}, {}
    corpora["beir"] = tmp_path / "beir" / "corpus.jsonl"
    corpora["dpr"] = tmp_path / "psgs.tsv"
    lines = [{"_id": p.passage_id, "title": p.title, "text": p.text} for p in CORPUS]
    corpora["beir"].write_text("\n".join(map(json.dumps, lines)))
    table = [f"{p.passage_id}\t{p.text}\t{p.title}" for p in CORPUS]
    corpora["dpr"].write_text("\n".join(["id\ttext\ttitle", *table]))
    asked["jsonl"] = tmp_path / "asked.jsonl"
    keys = [{"id": q.question_id, "question": q.text, "answers": q.answers} for q in QUESTIONS]
    asked["jsonl"].write_text("\n".join(map(json.dumps, keys)))
    asked["dpr"] = tmp_path / "asked.csv"
    asked["dpr"].write_text("".join(f"{q.text}\t{list(q.answers)}\n" for q in QUESTIONS))
    pairs = [(q, p, grade) for q, of in QRELS.items() for p, grade in of.items()]
    judgements["beir"] = tmp_path / "qrels.tsv"
    heads = "query-id\tcorpus-id\tscore\n"
    judgements["beir"].write_text(heads + "".join(f"{q}\t{p}\t{g}\n" for q, p, g in pairs))
    judgements["trec"] = tmp_path / "qrels.txt"
    judgements["trec"].write_text("".join(f"{q} 0 {p} {g}\n" for q, p, g in pairs))
    by_judgements, by_answers = [], []
    for ending in ENDINGS:
        path = tmp_path / f"run{ending}"
        write_run(path, QUESTIONS, rows, scores, store)
        found = {name: judged(path, qrels=read_qrels(one)) for name, one in judgements.items()}
        by_judgements += [one.table() for one in found.values()]
        of = asked["dpr"] if ending in (".json", ".jsonl", ".pyserini.json") else asked["jsonl"]
        for corpus in corpora.values():
            opened = PassageStore.open_or_build(corpus, progress=False)
            by_answers.append(judged(path, questions=read_questions(of), store=opened).table())
    assert all(one == by_judgements[0] for one in by_judgements)
    assert all(one == by_answers[0] for one in by_answers)
    assert [line["metric"] for line in by_judgements[0]] == ["ndcg@10", "mrr@10"]
    hits = np.array([[row == position for row in of] for position, of in enumerate(rows)])
    expected = {f"top_{k}": hits[:, :k].any(axis=1).mean() for k in (1, 5, 20)}
    assert {line["metric"]: line["value"] for line in by_answers[0]} == expected


def test_a_labelled_question_that_the_run_lacks_is_a_miss_and_is_named(tmp_path: Path):
    path = trec(tmp_path / "run.trec", [("q1", "1", 2.0), ("q1", "5", 1.0), ("q2", "9", 1.0)])
    with pytest.raises(ArtError, match="2 passages a question, fewer than any metric looks at"):
        judged(path, qrels=QRELS)
    gold = [
        Question(q.question_id, q.text, (), frozenset({str(i)})) for i, q in enumerate(QUESTIONS)
    ]
    found = judge_run(read_run(path), where=path, questions=gold, ks=(1, 2))
    assert found.metrics == {"top_1": 1 / 6, "top_2": 1 / 6}  # ids alone need no corpus
    assert found.notes == [
        "4 of 6 labelled questions are not in the run and count as misses (q0, q3, q4, …)",
        "1 of 2 questions have fewer than 2 passages in the run (q2)",
    ]
    assert [one.first_hit for one in found.kept] == [None, 1, None, None, None, None]
    assert {one.depth for one in found.kept} == {2}


def test_questions_own_passages_are_left_out_when_asked_and_pointed_out_otherwise(tmp_path: Path):
    lines = [("1", str(p), -float(p)) for p in range(1, 13)]
    path, qrels = trec(tmp_path / "run.trec", lines), {"1": {"2": 1}}
    kept, dropped = (judged(path, qrels=qrels, drop_self_hits=drop) for drop in (False, True))
    assert [one.metrics["mrr@10"] for one in (kept, dropped)] == [0.5, 1.0]
    assert "--drop-self-hits" in kept.notes[0] and "is left out" in dropped.notes[0]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({}, "nothing says what is right"),
        ({"qrels": {"other": {"1": 1}}}, "no question of the run is judged"),
        ({"questions": QUESTIONS[1:]}, "1 of 2 questions of the run are not among"),
        ({"questions": QUESTIONS}, "6 of 6 questions have answers, which are looked for in"),
    ],
)
def test_what_cannot_be_judged_is_refused(labels, said: str, tmp_path: Path):
    path = trec(tmp_path / "run.trec", [("q0", "1", 2.0), ("q1", "1", 2.0)])
    with pytest.raises(ArtError) as caught:
        judged(path, **labels)
    assert said in str(caught.value)


def test_judgements_never_go_by_places_in_a_file_without_ids(tmp_path: Path):
    path = tmp_path / "run.json"
    hits = [{"id": number} for number in range(2, 12)]
    path.write_text(json.dumps([{"question": "?", "ctxs": hits}]))
    with pytest.raises(MismatchError, match="1 questions of the run have no id"):
        judged(path, qrels={"1": {"2": 1}})
    named = [Question("1", "?")]
    found = judge_run(read_run(path), where=path, questions=named, qrels={"1": {"2": 1}})
    assert found.metrics["mrr@10"] == 1.0 and found.kept[0].passages[0].id == "2"


def test_regular_expressions_are_looked_for(store: PassageStore, tmp_path: Path):
    path = trec(tmp_path / "run.trec", [("a", "3", 1.0)])
    asked = [Question("a", "?", (r"number\s\d+",))]
    plain, regex = (
        judged(path, questions=asked, store=store, regex_answers=one) for one in (False, True)
    )
    assert [one.metrics["top_1"] for one in (plain, regex)] == [0.0, 1.0]


@pytest.fixture
def files(tmp_path: Path) -> list[object]:
    heads = "query-id\tcorpus-id\tscore\n"
    pairs = [(q, p, grade) for q, of in QRELS.items() for p, grade in of.items()]
    (tmp_path / "qrels.tsv").write_text(heads + "".join(f"{q}\t{p}\t{g}\n" for q, p, g in pairs))
    places = range(12)
    trec(tmp_path / "a.trec", [(q, str(p), -float(p)) for q in QRELS for p in places])
    trec(tmp_path / "b.trec", [(q, str((p + 1) % 12), -float(p)) for q in QRELS for p in places])
    return ["--qrels", tmp_path / "qrels.tsv"]


def test_art_evaluate_judges_a_file_without_a_model(files, tmp_path: Path, capsys):
    output = ["--output", tmp_path / "m.json"]
    assert art("evaluate", "--run", tmp_path / "a.trec", *files, *output) == 0
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "m.json").read_text())
    expected = np.mean([1 / (i + 1) for i in range(6)])
    assert written["metrics"]["mrr@10"] == pytest.approx(expected)
    assert f"mrr@10   {100 * expected:.1f}" in printed and written["run"].endswith("a.trec")
    assert art("evaluate", "--run", tmp_path / "a.trec", *files, "--index", "x") == 1
    assert art("evaluate", *files) == 1
    assert "--index is missing" in capsys.readouterr().err


def test_art_compare_says_what_differs_and_where(files, tmp_path: Path, capsys):
    assert art("compare", tmp_path / "a.trec", tmp_path / "b.trec", *files) == 0
    printed = capsys.readouterr().out
    first = np.array([1 / (i + 1) for i in range(6)])
    second = np.array([0, *(1 / i for i in range(1, 6))])  # q0's stands behind the first ten
    (line,) = (one.split() for one in printed.splitlines() if one.startswith("mrr@10"))
    means = [f"{100 * one.mean():.1f}" for one in (first, second)]
    assert line[1:3] == means and line[-2:] == ["5", "1"]  # questions better in B, in A
    won, lost = printed.split("B gains most")[1].split("B loses most")
    assert "q1 (" in won and "q0 (" in lost and "q0 (" not in won
    assert art("compare", tmp_path / "a.trec", tmp_path / "b.trec") == 1
    assert "nothing says what is right" in capsys.readouterr().err
