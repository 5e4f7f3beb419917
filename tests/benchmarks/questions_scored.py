"""The test questions of NQ, TriviaQA and WebQuestions, scored through run files made of them.

python tests/benchmarks/questions_scored.py FOLDER    # that holds nq-test.jsonl and the others

No Wikipedia is needed: the corpus has a passage for each question, its first answer; a run gives
each question 20 of them, its own at rank 1, 2, …, 20, 1, … in turn. Other passages may hold an
answer by chance (`two`), as they do in Wikipedia. What `art evaluate --run RUN --questions FILE
--passages FILE` prints must be what a plain reading of the rule says of the same lists, for DPR's
`.csv` of the questions and its JSON of the run as for ours. Prints the questions of each file, its
top-k accuracies both ways, and one line of JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path

import numpy as np
from answer_match import plain_answers, plain_match

from art.data.formats import Passage, Question, read_questions, read_run
from art.data.passages import PassageStore
from art.evaluation.judging import judge_run
from art.evaluation.runs import write_run

FILES = ("nq-test.jsonl", "trivia-test.jsonl", "webq-test.jsonl")
DEPTH = 20
KS = (1, 5, 20)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="that holds the files")
    folder = parser.parse_args().folder
    results = {}
    for name in FILES:
        with tempfile.TemporaryDirectory() as scratch:
            results[name] = scored(read_questions(folder / name), Path(scratch))
        shown = ", ".join(
            f"top-{k} {100 * value:.2f}" for k, value in zip(KS, results[name]["top"], strict=True)
        )
        count, answers = results[name]["questions"], results[name]["answers"]
        print(f"{name}: {count:,} questions, {answers:,} answers; {shown}, as a plain reading says")
    print(json.dumps(results))


def scored(questions: list[Question], scratch: Path) -> dict[str, object]:
    corpus = [Passage(f"p{i}", "", f"It is {q.answers[0]}") for i, q in enumerate(questions)]
    store = PassageStore.build(corpus, scratch / "store", source="questions", progress=False)
    count, places = len(questions), np.arange(len(questions))
    rows = (places[:, None] + np.arange(1, DEPTH + 1) * 7) % count  # [Q, K], none of them its own
    rows[places, places % DEPTH] = places
    found = [
        [plain_match(corpus[row].text, wanted) for row in of]
        for wanted, of in zip(map(plain_answers, questions), rows.tolist(), strict=True)
    ]
    expected = [float(np.array(found)[:, :k].any(axis=1).mean()) for k in KS]
    files = {"ours": questions, "csv": dpr_csv(questions, scratch / "test.csv")}
    for asked, ending in (("ours", ".trec"), ("ours", ".json"), ("csv", ".json")):
        path = scratch / f"run{ending}"
        write_run(path, questions, rows, -np.arange(DEPTH) + np.zeros(rows.shape), store)
        of = files[asked]
        judged = judge_run(read_run(path), where=path, questions=of, store=store, ks=KS)
        assert [judged.metrics[f"top_{k}"] for k in KS] == expected, (asked, ending)
        assert len(judged.questions) == count
    answers = sum(len(one.answers) for one in questions)
    return {"questions": count, "answers": answers, "top": expected}


def dpr_csv(questions: list[Question], path: Path) -> list[Question]:
    """Return the questions read from DPR's form of them."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t")
        rows.writerows((one.text, str(list(one.answers))) for one in questions)
    read = read_questions(path)
    assert [one.answers for one in read] == [one.answers for one in questions]
    return read


if __name__ == "__main__":
    main()
