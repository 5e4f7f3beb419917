"""How many questions and passages are cut, counted and said."""

import pytest
from transformers import AutoTokenizer

from art.data import cutting
from art.data.cutting import cut_passages, cut_questions
from art.data.formats import Passage
from art.data.passages import PassageStore
from art.data.prompts import RetrieverTemplate
from art.data.tokens import TokenStore


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return AutoTokenizer.from_pretrained(tiny_bert)


def said(template, passages, folder):
    rows = [Passage(str(i), *one) for i, one in enumerate(passages)]
    store = PassageStore.build(rows, folder / "store", source="memory", progress=False)
    tokens = TokenStore.open_or_build(store, template, cache=folder, progress=False)
    return [*cut_passages(template, tokens, store)]


def test_a_text_that_is_exactly_as_long_as_may_be_is_not_cut(tokenizer, tmp_path):
    template = RetrieverTemplate(tokenizer, max_length=6, prefix="the ")
    exact, over = "moon river stone", "moon river stone bridge"  # with [CLS], prefix and [SEP]
    assert not [*cut_questions(template, [exact, "moon", ""])]
    (line,) = cut_questions(template, [exact, over, "moon"])
    assert line.startswith("1 of 3 questions have more than 6 tokens")
    assert "--question-length" in line and "retriever.question_length" in line
    assert not said(template, [("", exact)], tmp_path / "exact")
    (line,) = said(template, [("", exact), ("", over), ("moon", over)], tmp_path / "over")
    assert line.startswith("2 of 3 passages have more than 6 tokens") and "--passage-length" in line


@pytest.mark.parametrize("join", ["separator", "space"])
def test_a_title_that_is_cut_counts_as_much_as_a_text(tokenizer, tmp_path, join):
    template = RetrieverTemplate(tokenizer, max_length=5, title_join=join)
    passages = [("moon river stone bridge", ""), ("moon", "river"), ("moon", "river stone bridge")]
    (line,) = said(template, passages, tmp_path)
    assert line.startswith("2 of 3 passages")


def test_of_many_texts_some_are_looked_at(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(cutting, "_MOST_QUESTIONS", 10)
    monkeypatch.setattr(cutting, "_MOST_PASSAGES", 10)
    template = RetrieverTemplate(tokenizer, max_length=4)
    texts = ["moon river stone"] * 50 + ["moon"] * 50
    (line,) = cut_questions(template, texts)
    assert line.startswith("about 50 of 100 questions")
    (line,) = said(template, [("", text) for text in texts], tmp_path)
    assert line.startswith("about 50 of 100 passages")


def test_nothing_is_said_of_no_texts(tokenizer):
    assert not [*cut_questions(RetrieverTemplate(tokenizer, max_length=4), [])]
