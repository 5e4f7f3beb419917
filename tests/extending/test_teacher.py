"""A new kind of teacher is one class in one file: here it scores words in common, with no model."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import run
from tiny_run import tiny_run

from art.data.formats import Passage, Question, read_run
from art.data.pairs import Asked, Ids, Pair, joined
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.diagnosis.diagnose import diagnose
from art.errors import ConfigError, ConfigFaults
from art.evaluation.rescoring import rescore_run
from art.files import fingerprint
from art.planning.forecast import forecast
from art.planning.format import plan
from art.planning.label_entropy import LabelEntropy
from art.report.tables import diagnosis
from art.teacher.base import Teacher
from art.teacher.cached import CachedTeacher
from art.teacher.registry import KINDS, answers_for, load_teacher, setting_faults
from art.training.loop import train
from art.training.settings import check_config

pytestmark = pytest.mark.usefixtures("known_metrics")

# The file that would be art/teacher/kinds/word_overlap.py


class WordTemplate:
    """Words as ids: a pair is a question's words and a passage's."""

    prompt = ""
    vocab_size = 1 << 16
    fingerprint = fingerprint("words 1")

    def __init__(self, max_length: int) -> None:
        self.longest = max_length

    def __call__(self, titles: list[str], texts: list[str]) -> list[list[int]]:
        return [self._ids(f"{title} {text}") for title, text in zip(titles, texts, strict=True)]

    def asked(self, question: str) -> Asked:
        return Asked(joined(self._ids(question)), joined())

    def pair(self, asked: Asked, passage_ids: Ids) -> Pair:
        room = max(self.longest - len(asked.question), 0)
        return Pair(asked.question, joined(passage_ids[:room]))

    def _ids(self, text: str) -> list[int]:
        return [zlib.crc32(word.encode()) % self.vocab_size for word in text.lower().split()]


class WordOverlap(Teacher):
    """The share of the question's words that the passage has."""

    name = "word-overlap"
    description = "the share of the question's words that the passage has"
    unused = ("passage_prompt", "question_prefix", "chat_template", "reduction", "question_length")

    def __init__(self, max_length: int) -> None:
        self.template = WordTemplate(max_length)
        self.fingerprint = fingerprint("word overlap 1", str(max_length))
        self.batch_tokens = 1024

    @classmethod
    def load(
        cls, model: str, *, max_length: int = 512, answers: Mapping[str, str], **others: Any
    ) -> WordOverlap:
        return cls(max_length)

    @classmethod
    def faults(cls, settings: Mapping[str, Any]) -> Iterator[str]:
        if settings["max_length"] < 2:
            yield "teacher.max_length: must leave room for a word of each text"

    def score_pairs(self, pairs: Sequence[Pair]) -> np.ndarray:
        words = [(set(map(int, pair.first)), set(map(int, pair.second))) for pair in pairs]
        shares = [len(asked & there) / len(asked) for asked, there in words]
        return np.array(shares, dtype=np.float32)


# Its test

QUESTIONS = [
    Question("a", "stone bridge river", positive_passage_ids=frozenset({"1"})),
    Question("b", "moon", positive_passage_ids=frozenset({"2"})),
]
PASSAGES = [
    Passage("0", "garden", "in winter the river is cold"),
    Passage("1", "bridge", "a stone bridge over the river"),
    Passage("2", "", "the moon"),
]


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    KINDS.add(WordOverlap)
    yield
    KINDS.remove(WordOverlap.name)


@pytest.fixture
def store(tmp_path: Path) -> PassageStore:
    return PassageStore.build(PASSAGES, tmp_path / "store", source="here", progress=False)


def tokens(teacher: Teacher, store: PassageStore) -> TokenStore:
    return TokenStore.open_or_build(store, teacher.template, progress=False)


def test_results_are_reordered_by_its_scores(store, tmp_path) -> None:
    teacher = load_teacher("no model", kind="word-overlap", reduction="mean", device="cpu")
    rows = np.array([[0, 2, 1], [0, 2, -1]])
    output = tmp_path / "out.json"
    rescore_run(teacher, tokens(teacher, store), QUESTIONS, rows, store, output, progress=False)
    found = read_run(output)
    assert found.passage_ids == [["1", "0", "2"], ["2", "0"]]
    expected = [[1, 1 / 3, 0], [1, 0]]
    for scores, wanted in zip(found.scores, expected, strict=True):
        np.testing.assert_allclose(scores[: len(wanted)], wanted, atol=1e-6)


def test_it_is_diagnosed_as_it_is(store) -> None:
    teacher = load_teacher("no model", kind="word-overlap")
    found = diagnose(
        {"the prompt": lambda: CachedTeacher(teacher, None, tokens(teacher, store))},
        store,
        QUESTIONS,
        depth=3,
        ks=(1,),
        progress=False,
    )
    assert found.results["BM25, first 3 re-ordered"].metrics == {"top_1": 1.0}
    assert list(found.label_entropies) == ["scores"]
    assert isinstance(found.label_entropies["scores"], LabelEntropy)
    assert "in the same order" not in diagnosis(found)


def test_what_it_does_not_say_has_an_answer() -> None:
    kind, teacher = KINDS["word-overlap"], load_teacher("no model", kind="word-overlap")
    assert answers_for("word-overlap", QUESTIONS, where="q.csv") == {}
    assert kind.assumed_lengths(16, 150, {}) == (16, 150)
    assert kind.published_shape("bigscience/T0_3B") is None
    assert teacher.shape() is teacher.weight_bytes() is None and not teacher.reads_passages_apart


def test_its_settings_are_checked_by_itself() -> None:
    defaults = dict.fromkeys(WordOverlap.unused) | {"max_length": 512}
    assert list(setting_faults("word-overlap", defaults, defaults)) == []
    wrong = defaults | {"passage_prompt": "{passage}", "max_length": 1}
    assert list(setting_faults("word-overlap", wrong, defaults)) == [
        "teacher.passage_prompt: means nothing to teacher.kind word-overlap; leave it out",
        "teacher.max_length: must leave room for a word of each text",
    ]


def test_help_and_messages_know_it(capsys) -> None:
    assert run("score", "--help") == 0
    assert "word-overlap" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="did you mean word-overlap"):
        load_teacher("no model", kind="words-overlap")


def test_a_run_trains_with_it_and_its_plan_is_counted(tiny_bert, tiny_t5, corpus, tmp_path) -> None:
    document = tiny_run(tmp_path / "run", tiny_bert, tiny_t5, corpus).model_dump(mode="json")
    document["teacher"] = {"kind": "word-overlap", "model": "none", "temperature": 0.1}
    document["training"]["max_steps"] = 2
    config = check_config(document, source="test")
    assert "questions" in plan(config, forecast(config))
    result = train(config)
    assert result.last_step == 2
    assert (tmp_path / "run" / "scores.log").stat().st_size > 48


def test_settings_that_mean_nothing_to_it_are_refused_with_all_other_faults(
    tiny_bert, tiny_t5, corpus, tmp_path
) -> None:
    document = tiny_run(tmp_path / "run", tiny_bert, tiny_t5, corpus).model_dump(mode="json")
    document["teacher"] = {"kind": "word-overlap", "model": "none", "reduction": "sum"}
    document["training"] |= {"evaluate_steps": 3, "refresh_steps": 2}
    with pytest.raises(ConfigFaults) as caught:
        check_config(document, source="test")
    assert "teacher.reduction: means nothing to teacher.kind word-overlap" in str(caught.value)
    assert "training.evaluate_steps: 3 is not a multiple" in str(caught.value)
