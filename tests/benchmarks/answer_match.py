"""Seconds of looking for the answers of Natural Questions in 100 passages each, by DPR's rule.

python tests/benchmarks/answer_match.py FOLDER        # that holds nq-test.jsonl, 3,610 questions
python tests/benchmarks/answer_match.py FOLDER --questions 300

A passage store is written, as `art evaluate` opens one, of generated passages of a hundred words:
words of the questions and answers themselves, as often as they occur there, so that many passages
hold some word of an answer; one in twenty holds an answer of its question. No passage is asked
about twice, so that none is prepared already. What is measured is `art.evaluation.labels.Labels`:
passages read from the store, answers looked for.

A plain reading of the rule, each passage tokenised and each answer compared at each of its places,
is timed on the first questions in the same run, and must say the same of them. Prints seconds, the
ratio of both by pair, and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import regex

from art.data.formats import Passage, Question, read_questions
from art.data.passages import PassageStore
from art.evaluation.labels import Labels

NUM_PASSAGES, NUM_WORDS = 100, 100
WITH_ANSWER = 0.05
PLAIN_QUESTIONS = 100
_TOKEN = regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")


def main() -> None:
    words = arguments()
    questions = read_questions(words.folder / "nq-test.jsonl")[: words.questions]
    rows = np.arange(len(questions) * NUM_PASSAGES).reshape(len(questions), NUM_PASSAGES)
    with tempfile.TemporaryDirectory() as folder:
        store = PassageStore.build(
            passages(questions), Path(folder) / "store", source="generated", progress=False
        )
        started, used = time.perf_counter(), time.process_time()
        hits = Labels(questions, store).hits(rows)
        seconds, processor = time.perf_counter() - started, time.process_time() - used
        few = questions[:PLAIN_QUESTIONS]
        used = time.process_time()
        plain = [
            [plain_match(store[row].text, wanted) for row in of]
            for wanted, of in zip(map(plain_answers, few), rows.tolist(), strict=False)
        ]
        plain_processor = time.process_time() - used
    assert (hits[: len(few)] == np.array(plain)).all(), "the plain reading says otherwise"
    pairs = rows.size
    ratio = (plain_processor / (len(few) * NUM_PASSAGES)) / (processor / pairs)
    print(f"{len(questions):,} questions x {NUM_PASSAGES} passages, {100 * hits.mean():.1f} % hits")
    print(f"{seconds:.1f} s, {processor:.1f} s of processor time, one process")
    print(f"a plain reading takes {ratio:.1f} times the processor time a pair")
    found = {
        "questions": len(questions),
        "pairs": pairs,
        "seconds": seconds,
        "processor_seconds": processor,
        "plain_over_ours": ratio,
    }
    print(json.dumps(found))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="that holds nq-test.jsonl")
    parser.add_argument("--questions", type=int, help="only so many")
    return parser.parse_args()


def passages(questions: list[Question]) -> Iterator[Passage]:
    """Yield the passages of each question, one after the other."""
    rng = random.Random(0)
    texts = (text for one in questions for text in (one.text, *one.answers))
    known = [word for text in texts for word in text.split()]
    for number in range(len(questions) * NUM_PASSAGES):
        chosen = rng.choices(known, k=NUM_WORDS)
        if rng.random() < WITH_ANSWER:
            answers = questions[number // NUM_PASSAGES].answers
            chosen[rng.randrange(NUM_WORDS)] = rng.choice(answers)
        yield Passage(str(number), "", " ".join(chosen))


def plain_answers(question: Question) -> list[list[str]]:
    """Return the tokens of each answer in which some are left."""
    return [tokens for one in question.answers if (tokens := plain_tokens(one))]


def plain_match(text: str, answers: list[list[str]]) -> bool:
    tokens = plain_tokens(text)
    return any(
        tokens[start : start + len(wanted)] == wanted
        for wanted in answers
        for start in range(len(tokens) - len(wanted) + 1)
    )


def plain_tokens(text: str) -> list[str]:
    return [token.lower() for token in _TOKEN.findall(unicodedata.normalize("NFD", text))]


if __name__ == "__main__":
    main()
