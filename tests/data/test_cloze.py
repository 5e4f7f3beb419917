"""Pairs cut from passages: what is taken out, what stays, and what it depends on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from art.data.cloze import cloze_items, inverse_cloze, random_crops
from art.data.formats import Passage
from art.data.passages import PassageStore
from art.data.prompts import RetrieverTemplate
from art.data.splitting import sentences

TEXT = "The bridge is old. Who built it? Nobody knows, e.g. in the north. It stands."
WORDS = st.lists(
    st.sampled_from(["moon", "stone.", "River!", "of", "月亮。", "3.", "\n\n"]), max_size=40
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def spaced(text: str) -> str:
    return " ".join(text.split())


@given(WORDS)
def test_sentences_join_to_the_text(words: list[str]) -> None:
    text = " ".join(words)
    parts = sentences(text)
    assert all(parts)
    assert "".join(word for part in parts for word in part).lstrip(" ") == spaced(text)


def test_sentences_end_where_passages_may() -> None:
    assert ["".join(part).strip() for part in sentences(TEXT)] == [
        "The bridge is old.",
        "Who built it?",
        "Nobody knows, e.g. in the north.",
        "It stands.",
    ]
    assert ["".join(part) for part in sentences("月亮。河流！")] == [" 月亮。", "河流！"]


def test_each_sentence_asks_for_the_others() -> None:
    whole = ["".join(part).strip() for part in sentences(TEXT)]
    pairs = {inverse_cloze(TEXT, rng(seed), keep=0.0) for seed in range(100)}
    assert pairs == {(one, " ".join(other for other in whole if other != one)) for one in whole}


def test_a_tenth_of_the_sentences_stay_in_their_passage() -> None:
    draws = rng()
    stayed = sum(inverse_cloze(TEXT, draws)[1] == TEXT for _ in range(4000))
    assert 0.08 < stayed / 4000 < 0.12
    assert all(inverse_cloze(TEXT, rng(seed), keep=1.0)[1] == TEXT for seed in range(20))


@given(WORDS, st.integers(0, 1000), st.sampled_from([0.0, 0.1, 1.0]))
def test_a_sentence_and_its_rest_are_parts_of_the_text(
    words: list[str], seed: int, keep: float
) -> None:
    text = " ".join(words)
    question, rest = inverse_cloze(text, rng(seed), keep=keep)
    assert bool(question) == bool(text.strip())
    assert question in spaced(text)
    if rest == text:
        return
    assert 0 < len(rest) < len(spaced(text))
    # What is left is what stood before and what stood after it.
    before = [i for i in range(len(rest) + 1) if spaced(text).startswith(rest[:i])]
    joined = {spaced(text)[:i].strip() + "|" + question for i in before}
    assert any(
        spaced(text).startswith(one.replace("|", gap)) for one in joined for gap in ("", " ")
    )
    assert len(spaced(text)) - len(question) - len(rest) in (0, 1)


@pytest.mark.parametrize("text", ["moon", "月"])
def test_a_single_word_is_left_in_place(text: str) -> None:
    assert inverse_cloze(text, rng(), keep=0.0) == (text, text)
    assert random_crops(text, rng()) == (text, text)


def test_one_sentence_loses_a_run_of_at_most_half_its_words() -> None:
    words = [f"w{i}" for i in range(20)]
    for seed in range(50):
        question, rest = inverse_cloze(" ".join(words), rng(seed), keep=0.0)
        start = words.index(question.split()[0])
        stop = start + len(question.split())
        assert question.split() == words[start:stop]
        assert rest.split() == words[:start] + words[stop:]
        assert 1 <= stop - start <= 10


@given(st.integers(1, 200), st.integers(0, 1000))
def test_crops_are_runs_of_at_most_half_the_words(count: int, seed: int) -> None:
    words = [f"w{i}" for i in range(count)]
    for crop in random_crops(" ".join(words), rng(seed)):
        start = words.index(crop.split()[0])
        assert crop.split() == words[start : start + len(crop.split())]
        assert len(crop.split()) <= max(1, count / 2 + 1)


def test_crops_are_drawn_apart() -> None:
    words = " ".join(f"w{i}" for i in range(100))
    pairs = [random_crops(words, rng(seed)) for seed in range(50)]
    assert sum(first == second for first, second in pairs) < 5
    assert len({first for first, _ in pairs}) > 40


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PassageStore:
    passages = [
        Passage("a", "stone bridge", "the moon lies in the north. who built it? the doctor."),
        Passage("b", "", "the river of silver. the island of paper."),
        Passage("c", "garden", ""),
    ]
    folder = tmp_path_factory.mktemp("cloze")
    return PassageStore.build(passages, folder / "store", source="test", progress=False)


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return AutoTokenizer.from_pretrained(tiny_bert)


def items(store, tokenizer, rows, **settings):
    template = RetrieverTemplate(tokenizer, max_length=64)
    settings = {"cut": inverse_cloze, "seed": 1, "epoch": 0} | settings
    return cloze_items(
        rows, store, question_template=template, passage_template=template, **settings
    )


@pytest.mark.parametrize("cut", [inverse_cloze, random_crops])
def test_items_are_read_through_the_templates_and_keep_their_title(store, tokenizer, cut) -> None:
    first, second, bare = items(store, tokenizer, [0, 1, 2], cut=cut)
    (shown,) = (tokenizer.decode(ids) for ids in first.passages)
    assert shown.startswith("[CLS] stone bridge [SEP] ")
    assert shown.count("[SEP]") == 2
    assert tokenizer.decode(second.passages[0]).count("[SEP]") == 1
    assert "bridge" not in tokenizer.decode(first.question)
    for ids in (bare.question, bare.passages[0]):
        assert tokenizer.decode(ids) == "[CLS] garden [SEP]"
    assert [one.keys.tolist() for one in (first, second, bare)] == [[0], [1], [2]]
    assert all(one.positive_keys.tolist() == one.keys.tolist() for one in (first, second, bare))


def test_an_item_depends_on_seed_epoch_and_row_alone(store, tokenizer) -> None:
    def drawn(rows, **settings):
        return [(one.question, one.passages) for one in items(store, tokenizer, rows, **settings)]

    together = drawn([0, 1, 2])
    assert drawn([2, 1, 0]) == together[::-1]
    assert [drawn([row])[0] for row in range(3)] == together
    epochs = {repr(drawn([0], epoch=epoch)) for epoch in range(20)}
    seeds = {repr(drawn([0], seed=seed)) for seed in range(20)}
    assert len(epochs) > 1
    assert len(seeds) > 1
