"""A reader's inputs and logits against transformers' own, its spans against all there are."""

from __future__ import annotations

import copy
import logging

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import DPRReader, DPRReaderTokenizerFast

from art.answering import reader as reader_module
from art.answering.reader import create_reader, load_reader
from art.answering.spans import best_spans, occurrences
from art.data.tokens import pad
from art.errors import ArtError, ConfigError, MismatchError

QUESTIONS = ["who built the stone bridge ?", "where is the moon river ?"]


@pytest.fixture(scope="module")
def reader(tiny_reader):
    return load_reader(str(tiny_reader))


@pytest.fixture(scope="module")
def pairs(corpus) -> list[tuple[str, str, str]]:
    """Questions with titles and texts of all lengths, the longest too long, some without title."""
    texts = [text[: 4 + 12 * i] for i, (_, _, text) in enumerate(corpus[:12])]
    texts += [" ".join(text for _, _, text in corpus[:10]), "moon"]
    titles = [title for _, title, _ in corpus]
    return [(QUESTIONS[i % 2], titles[i], text) for i, text in enumerate(texts)]


def readings_of(reader, pairs):
    template = reader.template
    questions = template.questions([question for question, _, _ in pairs])
    passages = template([title for _, title, _ in pairs], [text for *_, text in pairs])
    return [*map(template.reading, questions, passages)]


def test_inputs_and_logits_are_those_of_transformers(reader, tiny_reader, pairs) -> None:
    tokenizer = DPRReaderTokenizerFast.from_pretrained(tiny_reader)
    model = DPRReader.from_pretrained(tiny_reader).eval()
    readings = readings_of(reader, pairs)
    assert len({len(one.ids) for one in readings}) > 8
    with torch.no_grad():
        said = reader(*pad([one.ids for one in readings], pad_id=reader.template.pad_id))
        for place, (question, title, text) in enumerate(pairs):
            inputs = tokenizer(
                question, title, text, max_length=128, truncation=True, return_tensors="pt"
            )
            assert inputs["input_ids"][0].tolist() == readings[place].ids.tolist()
            alone, length = model(**inputs), len(readings[place].ids)
            for ours, theirs in (
                (said.start[place, :length], alone.start_logits[0]),
                (said.end[place, :length], alone.end_logits[0]),
                (said.relevance[place], alone.relevance_logits[0]),
            ):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_what_is_read_is_the_best_span_of_the_text_whatever_the_batch(
    reader, pairs, monkeypatch
) -> None:
    readings = readings_of(reader, pairs)
    found = reader.read(readings)
    for place, one in enumerate(readings):
        with torch.no_grad():
            start, end, relevance = reader(*pad([one.ids], pad_id=0))
        best = max(
            (float(start[0, i] + end[0, j]), i - one.text_start, j - one.text_start)
            for i in range(one.text_start, len(one.ids))
            for j in range(i, min(i + 10, len(one.ids)))
        )
        assert (found.first[place], found.last[place]) == best[1:]
        assert found.score[place] == pytest.approx(best[0], abs=1e-5)
        assert found.relevance[place] == pytest.approx(float(relevance), abs=1e-5)
    monkeypatch.setattr(reader_module, "encoding_tokens", lambda _: 1)
    for one, other in zip(found, reader.read(readings), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_passage_of_which_no_text_is_read_has_no_span(reader) -> None:
    asked, passages = "moon " * 200, [("a title", ""), ("", "the moon")]
    pairs = [(QUESTIONS[0], *passages[0]), (asked, *passages[1]), (QUESTIONS[0], *passages[1])]
    found = reader.read(readings_of(reader, pairs))
    assert np.isneginf(found.score).tolist() == [True, True, False]


def test_a_reader_that_has_diverged_does_not_pass_for_one_without_a_text(reader, pairs) -> None:
    diverged = copy.deepcopy(reader)
    next(diverged.parameters()).data.fill_(torch.nan)
    with pytest.raises(ArtError, match=r"not a finite number \(its weights have diverged"):
        diverged.read(readings_of(reader, pairs))


def test_among_equal_spans_the_shortest_is_taken() -> None:
    zero, text = torch.zeros(2, 6), torch.tensor([[False, False, True, True, True, False]] * 2)
    end = zero.clone()
    end[1, 3] = 1.0
    spans = best_spans(zero, end, text, max_tokens=3)
    assert (spans.first.tolist(), spans.last.tolist()) == ([2, 3], [2, 3])
    end[1, :] = -1.0  # where the text is not: of no use to a span
    end[1, 2] = -9.0
    long = best_spans(torch.tensor([[0, 0, 9.0, 0, 0, 0]] * 2), end, text, max_tokens=2)
    assert (long.first[1].item(), long.last[1].item()) == (2, 3)


def test_an_answer_is_the_texts_own_characters_in_whole_words(reader) -> None:
    text = "It was 3.5 km  to Zürich's  MOON-river, in <s> [SEP] the “Éire” of\u00a0bridges…"
    template, ids = reader.template, None
    _, *ids = template([""], [text])[0]  # behind the separator
    borders = template._encoder.word_borders(text)
    assert len(borders) == len(ids)
    words = [text[start:stop] for start, stop in borders]
    assert template.excerpt(text, 0, len(ids) - 1) == text
    three, zurich = words.index("3"), words.index("Zürich")
    assert template.excerpt(text, three, three + 2) == "3.5"
    assert words.count("Zürich") > 2  # of several pieces, each of which stands for the whole
    assert template.excerpt(text, zurich + 1, words.index("river")) == "Zürich's  MOON-river"


def test_what_is_no_reader_is_refused(tiny_bert, tiny_reader, tmp_path) -> None:
    with pytest.raises(ArtError, match=r"bert.* is not a DPR reader .*facebook/dpr-reader"):
        load_reader(str(tiny_bert))
    from transformers import AutoTokenizer, DPRConfig, DPRQuestionEncoder

    shape = DPRConfig.from_pretrained(tiny_reader)
    DPRQuestionEncoder(shape).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    with pytest.raises(ArtError, match=r"lacks .* weights of a reader, such as span_predictor"):
        load_reader(str(tmp_path))


def test_an_answer_is_found_wherever_it_stands_in_whole_words(reader) -> None:
    template = reader.template

    def found(text: str, *answers: str) -> list[str]:
        ids, *sought = (np.array(one, int) for one in template.questions([text, *answers]))
        spans = occurrences(ids, sought, template.continues)
        return [template.excerpt(text, first, last) for first, last in spans.tolist()]

    text = "Moon river, the MOON-river of moonriver; a moon"
    assert found(text, "moon river", "the") == ["Moon river", "the"]
    assert found(text, "moon", "MOON") == ["Moon", "MOON", "moon"]  # not in `moonriver`
    assert found(text, "moonriver") == ["moonriver"]
    assert found(text, "", "river moon") == [] == found("", "moon")
    assert found("a a a", "a a") == ["a a", "a a"]


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.lists(st.integers(0, 3), max_size=3)))
def test_occurrences_are_all_there_are(text: list[int], answers: list[list[int]]) -> None:
    continues = np.array([False, False, False, True])
    expected = sorted(
        {
            (i, i + len(one) - 1)
            for one in answers
            for i in range(len(text) - len(one) + 1)
            if one and text[i : i + len(one)] == one and text[i] != 3
            and text[i + len(one) : i + len(one) + 1] != [3]
        }
    )  # fmt: skip
    found = occurrences(np.array(text, int), [np.array(one, int) for one in answers], continues)
    assert [tuple(one) for one in found.tolist()] == expected


def test_a_reader_from_a_bert_keeps_its_encoder_and_has_heads_of_its_seed(
    tiny_bert, tiny_reader, tmp_path, monkeypatch, caplog
) -> None:
    from transformers import BertModel

    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    first, again, other = (
        create_reader(str(tiny_bert), max_length=64, seed=seed) for seed in (1, 1, 2)
    )
    assert "LOAD REPORT" not in caplog.text  # of the pooler, which nobody misses
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    encoder = first.model.span_predictor.encoder.bert_model.state_dict()
    for name, weights in BertModel.from_pretrained(tiny_bert).state_dict().items():
        assert name.startswith("pooler") or torch.equal(encoder[name], weights)
    first.save(tmp_path / "saved", provenance={"step": 7})
    kept = load_reader(str(tmp_path / "saved"))
    assert kept.template.max_length == 64 and kept.fingerprint() == first.fingerprint()
    assert not kept.training and first.training
    manifest = tmp_path / "saved" / "reader.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(MismatchError, match="layout 2, this version reads 1"):
        load_reader(str(tmp_path / "saved"))
    goes_on = create_reader(str(tiny_reader), max_length=128, seed=1)
    assert goes_on.fingerprint() == load_reader(str(tiny_reader)).fingerprint()


def test_what_a_reader_cannot_start_from_is_refused(tiny_bert, tiny_t5) -> None:
    with pytest.raises(ConfigError, match=r"reader\.max_length: 350, but .* positions for 128"):
        create_reader(str(tiny_bert), max_length=350, seed=1)
    with pytest.raises(ArtError, match=r"\(t5\) is not a BERT, nor a DPR reader"):
        create_reader(str(tiny_t5), max_length=64, seed=1)
