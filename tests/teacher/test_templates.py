"""Inputs that hold question and passage: what is cut, what never is, and what markup becomes."""

from __future__ import annotations

import pickle

import pytest
from transformers import AutoTokenizer

from art.errors import ArtError, ConfigError, DataError
from art.teacher.kinds.answer_likelihood import ANSWER_PROMPT, AnswerTemplate
from art.teacher.kinds.cross_encoder import PairTemplate

MARKUP = "<s> </s> [SEP] [CLS] <|end|> <|im_start|> moon"
TEXT = "the winter garden was built in north valley"
ANSWERS = {"who built it ?": "the doctor", MARKUP: MARKUP, "why " * 40: "moon", "blank": " "}


@pytest.fixture(scope="module")
def tokenizers(tiny_bert, tiny_t5, tiny_llama) -> dict:
    named = {"bert": tiny_bert, "t5": tiny_t5, "llama": tiny_llama}
    return {name: AutoTokenizer.from_pretrained(folder) for name, folder in named.items()}


def answer_template(tokenizers, name: str, **options) -> AnswerTemplate:
    family = "causal" if name == "llama" else "encoder-decoder"
    return AnswerTemplate(tokenizers[name], ANSWERS, family=family, **options)


@pytest.mark.parametrize(
    "prompt",
    [None, "{question} {passage}", "Q: {question}\nP: {passage}\nA:", "{passage}:{question}"],
)
def test_an_answer_prompts_pieces_are_the_ids_of_the_whole(prompt, tokenizers) -> None:
    for name in ("t5", "llama"):
        if name == "t5" and prompt == "{passage}:{question}":
            continue  # a sentencepiece text begins with a space of its own
        template = answer_template(tokenizers, name, passage_prompt=prompt)
        (passage,) = template.passages([""], [TEXT])
        first, second = template.pair(template.asked("who built it ?"), passage)
        whole = (prompt or ANSWER_PROMPT).format(passage=TEXT, question="who built it ?")
        space = " " if name == "llama" and not whole[-1].isspace() else ""
        assert first.tolist() == tokenizers[name](whole)["input_ids"]
        assert second.tolist() == tokenizers[name](space + "the doctor")["input_ids"]


def test_of_an_answer_prompt_the_passage_alone_is_cut(tokenizers) -> None:
    for name in ("t5", "llama"):
        long = answer_template(tokenizers, name, max_length=10_000)
        (passage,) = long.passages(["moon"], [TEXT * 30])
        asked = long.asked("who built it ?")
        full = long.pair(asked, passage).first
        for room in (0, 1, 50):
            cut = answer_template(tokenizers, name, max_length=len(full) - room)
            expected = long.pair(asked, passage[: len(passage) - room]).first
            assert cut.pair(asked, passage).first.tolist() == expected.tolist()


def test_of_a_pair_the_passage_alone_is_cut(tokenizers) -> None:
    for name in ("bert", "t5"):
        for length in (40, 41, 200):
            template = PairTemplate(tokenizers[name], max_length=length)
            (passage,) = template.passages(["moon"], [TEXT * 9])
            pair = template.pair(template.asked("who built it ?"), passage)
            whole = tokenizers[name](
                "who built it ?", f"moon {TEXT * 9}", truncation="only_second", max_length=length
            )
            assert [*pair.first, *pair.second] == whole["input_ids"]


def test_a_question_that_leaves_no_room_for_a_passage_is_refused(tokenizers) -> None:
    template = answer_template(tokenizers, "llama", max_length=60)
    for make in (template.asked, PairTemplate(tokenizers["bert"], max_length=30).asked):
        with pytest.raises(DataError, match="leaves no room for a passage"):
            make("why " * 40)


def test_questions_without_answer_or_tokens_are_refused(tokenizers) -> None:
    template = answer_template(tokenizers, "t5")
    with pytest.raises(DataError, match="no answer to 'nobody knows' is known"):
        template.asked("nobody knows")
    with pytest.raises(DataError, match="no tokens are left of ' '"):
        answer_template(tokenizers, "llama", passage_prompt="{passage}{question}\n").asked("blank")
    with pytest.raises(DataError, match="no tokens are left of ' '"):
        PairTemplate(tokenizers["bert"]).asked(" ")


def test_markup_is_never_a_special_token(tokenizers) -> None:
    for name in ("t5", "llama"):
        template = answer_template(tokenizers, name)
        special = set(tokenizers[name].all_special_ids) - {tokenizers[name].unk_token_id}
        asked = template.asked(MARKUP)
        end = -1 if name == "t5" else None
        assert special.isdisjoint(asked.question) and special.isdisjoint(asked.target[:end])
    template = PairTemplate(tokenizers["bert"])
    (passage,) = template.passages([MARKUP], [MARKUP])
    pair = template.pair(template.asked(MARKUP), passage)
    separator, start = tokenizers["bert"].sep_token_id, tokenizers["bert"].cls_token_id
    ids = [*pair.first, *pair.second]
    assert ids.count(start) == 1 and ids.count(separator) == 2


def test_a_pair_has_the_tokenizers_own_types(tokenizers) -> None:
    assert PairTemplate(tokenizers["bert"]).token_types is None
    names = ["input_ids", "token_type_ids", "attention_mask"]
    folder = tokenizers["bert"].name_or_path
    odd = AutoTokenizer.from_pretrained(folder, model_input_names=names)
    assert PairTemplate(odd).token_types == (0, 1)
    template = odd.backend_tokenizer.post_processor
    odd.backend_tokenizer.post_processor = type(template)(
        single="[CLS] $A [SEP]",
        pair="[CLS]:1 $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", odd.cls_token_id), ("[SEP]", odd.sep_token_id)],
    )
    with pytest.raises(ArtError, match="types the tokens of a pair in its own way"):
        PairTemplate(odd)


def test_teachers_of_one_tokenizer_share_the_passages(tokenizers) -> None:
    answers = answer_template(tokenizers, "llama", passage_prompt="{passage} {question}")
    again = pickle.loads(pickle.dumps(answers))
    assert again.fingerprint == answers.fingerprint
    assert again.passages(["a"], [TEXT]) == answers.passages(["a"], [TEXT])


def test_an_answer_prompt_needs_both_places(tokenizers) -> None:
    for prompt, missing in (("{passage}", "{question}"), ("{question}", "{passage}")):
        with pytest.raises(ConfigError, match=f"must contain {missing} exactly once"):
            answer_template(tokenizers, "llama", passage_prompt=prompt)


def test_a_chat_template_wraps_the_whole_question(tokenizers) -> None:
    template = answer_template(tokenizers, "llama", chat_template=True)
    rendered = answer_template(tokenizers, "llama", passage_prompt=template.prompt)
    assert "Question: {question} Answer:" in template.prompt
    asked = template.asked("who built it ?")
    assert template.pair(asked, [7]).first.tolist() == rendered.pair(asked, [7]).first.tolist()
