"""Answer likelihoods and cross-encoders against Hugging Face, one pair at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from language_model_pairs import PASSAGES, QUESTIONS, with_tokenizer_of
from tiny_teachers import (
    ANSWERS,
    all_pairs,
    answers_by_hugging_face,
    cross_encoded,
    make_reranker,
)
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from art.data.formats import Passage, Question
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.errors import ArtError, DataError
from art.teacher.base import Teacher
from art.teacher.cached import CachedTeacher
from art.teacher.kinds.answer_likelihood import ANSWER_PROMPT
from art.teacher.registry import answers_for, load_teacher

ON_CPU = {"dtype": "float32", "device": "cpu"}
KINDS = ["bert-1", "bert-2", "roberta-1", "llama-1", "llama-2"]


@pytest.fixture(scope="module")
def rerankers(tiny_bert, tiny_llama, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("rerankers")
    return {
        name: make_reranker(
            tiny_llama if name.startswith("llama") else tiny_bert,
            folder / name,
            *((kind := name.split("-"))[0], int(kind[1])),
        )
        for name in KINDS
    }


def teachers_with_scores(rerankers: dict[str, Path], t5: Path, llama: Path) -> list[tuple]:
    found: list[tuple[Teacher, np.ndarray]] = []
    for name in KINDS:
        teacher = load_teacher(str(rerankers[name]), kind="cross-encoder", max_length=60, **ON_CPU)
        found.append((teacher, cross_encoded(rerankers[name], 60)))
    for folder in (t5, llama):
        whole = {"max_length": 800, **ON_CPU}
        teacher = load_teacher(str(folder), kind="answer-likelihood", answers=ANSWERS, **whole)
        found.append((teacher, answers_by_hugging_face(folder)))
    return [(teacher, all_pairs(teacher), expected) for teacher, expected in found]


@pytest.fixture(scope="module")
def scored(rerankers, t5_untied, llama) -> list[tuple]:
    return teachers_with_scores(rerankers, t5_untied, llama)


@pytest.mark.parametrize("which", range(len(KINDS) + 2))
def test_scores_are_hugging_faces_of_the_same_texts(which: int, scored: list[tuple]) -> None:
    teacher, pairs, expected = scored[which]
    scores = teacher.score_pairs(pairs)
    assert scores.dtype == np.float32 and scores.shape == (25,)
    assert expected.reshape(5, 5).std(axis=0).min() > 1e-3  # else any order would pass
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(
    chosen=st.lists(st.integers(0, 24), max_size=12),
    batch_tokens=st.integers(1, 1500),
    which=st.integers(0, len(KINDS) + 1),
)
def test_order_company_and_budget_do_not_matter(
    scored: list[tuple], chosen: list[int], batch_tokens: int, which: int
) -> None:
    teacher, pairs, expected = scored[which]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "batch_tokens", batch_tokens)
        scores = teacher.score_pairs([pairs[i] for i in chosen])
    np.testing.assert_allclose(scores, expected[chosen], rtol=0, atol=1e-5)


def test_a_teacher_that_sees_the_question_beside_the_passage_reads_neither_apart(
    scored: list[tuple], llama: Path
) -> None:
    assert not any(teacher.reads_passages_apart for teacher, *_ in scored)
    assert load_teacher(str(llama), **ON_CPU).reads_passages_apart


def test_nothing_can_learn(scored: list[tuple]) -> None:
    for teacher, *_ in scored:
        assert not any(p.requires_grad for p in teacher.model.parameters())
        assert not any(module.training for module in teacher.model.modules())


@pytest.mark.parametrize("which", [0, 3, 5, 6])
def test_a_store_is_scored_once_and_read_back(
    which: int, scored: list[tuple], tmp_path: Path
) -> None:
    teacher, _, expected = scored[which]
    passages = [Passage(str(i), *one) for i, one in enumerate(PASSAGES)]
    store = PassageStore.build(passages, tmp_path / "store", source="here", progress=False)
    tokens = TokenStore.open_or_build(store, teacher.template, cache=tmp_path, progress=False)
    cached = CachedTeacher(teacher, None, tokens)
    rows = np.tile(np.arange(5), (5, 1))
    first, second = cached.score(QUESTIONS, rows), cached.score(QUESTIONS, rows)
    np.testing.assert_allclose(first.scores, expected.reshape(5, 5).T, rtol=0, atol=1e-5)
    assert (first.num_scored, second.num_scored, second.num_known) == (25, 0, 25)
    assert second.scores.tobytes() == first.scores.tobytes()


def test_the_fingerprint_follows_kind_prompt_and_length(llama, t5_untied, rerankers) -> None:
    def of(folder: Path, **changed: object) -> str:
        return load_teacher(str(folder), **ON_CPU, **changed).fingerprint

    answers = {"kind": "answer-likelihood", "answers": ANSWERS}
    prompt = {"passage_prompt": "{question} {passage}"}
    alike = {"passage_prompt": ANSWER_PROMPT, "question_prefix": ""}
    found = [
        *(of(folder) for folder in (llama, t5_untied)),
        *(of(folder, **answers) for folder in (llama, t5_untied)),
        of(llama, **answers, **prompt),
        of(llama, **alike),
        *(of(folder, kind="cross-encoder", max_length=64) for folder in rerankers.values()),
        of(rerankers["bert-1"], kind="cross-encoder", max_length=65),
    ]
    assert len(set(found)) == len(found)
    # The answers are in the pairs' own hashes: other questions make no other teacher.
    assert of(llama, **answers) == of(llama, kind="answer-likelihood", answers={"who": "me"})


def test_a_model_of_three_labels_is_refused(tiny_bert, tmp_path) -> None:
    folder = make_reranker(tiny_bert, tmp_path / "three", "bert", 3)
    with pytest.raises(ArtError, match="tells 3 labels apart"):
        load_teacher(str(folder), kind="cross-encoder", **ON_CPU)


def test_a_model_without_a_classification_head_is_refused(tiny_bert, tiny_t5) -> None:
    with pytest.raises(ArtError, match="lacks 2 weights of such a teacher, such as classifier"):
        load_teacher(str(tiny_bert), kind="cross-encoder", max_length=64, **ON_CPU)
    with pytest.raises(ArtError, match="encoder-decoder model, not a cross-encoder"):
        load_teacher(str(tiny_t5), kind="cross-encoder", **ON_CPU)


def test_a_decoder_only_reranker_needs_a_padding_token(rerankers, tiny_llama, tmp_path) -> None:
    folder = make_reranker(tiny_llama, tmp_path / "unpadded", "llama", 1)
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(folder)
    with pytest.raises(ArtError, match="no padding token"):
        load_teacher(str(folder), kind="cross-encoder", **ON_CPU)


def test_positions_that_begin_behind_the_padding_are_counted(rerankers) -> None:
    load_teacher(str(rerankers["roberta-1"]), kind="cross-encoder", max_length=128, **ON_CPU)
    with pytest.raises(ArtError, match="reads 128 tokens at most, but its inputs may take 129"):
        load_teacher(str(rerankers["roberta-1"]), kind="cross-encoder", max_length=129, **ON_CPU)


def test_a_model_of_two_labels_says_how_much_likelier_the_last_is(tiny_bert, tmp_path) -> None:
    config = BertConfig.from_pretrained(tiny_bert, num_labels=2)
    model = BertForSequenceClassification(config)
    model.classifier.weight.data.zero_()
    model.classifier.bias.data[:] = model.classifier.bias.new_tensor([1.0, 3.5])
    folder = with_tokenizer_of(tiny_bert, tmp_path / "two", model)
    teacher = load_teacher(str(folder), kind="cross-encoder", max_length=64, **ON_CPU)
    assert teacher.score_pairs(all_pairs(teacher)[:3]).tolist() == [2.5] * 3


def test_the_first_answer_counts_and_missing_ones_are_one_error() -> None:
    given = [
        Question("1", "who", answers=("the doctor", "she")),
        Question("2", "what"),
        Question("3", "who", answers=("the engine",)),
        Question("4", "where", answers=(" ",)),
    ]
    assert answers_for("answer-likelihood", given[::2], where="q.csv") == {"who": "the doctor"}
    assert answers_for("cross-encoder", given, where="q.csv") == {}
    with pytest.raises(DataError, match=r"q\.csv: 2 of 4 questions have no answer.*'what'"):
        answers_for("answer-likelihood", given, where="q.csv")
