"""What is asked is what `model.generate` would ask, however it is batched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_askers import NUM_TOKENS, asked_of, asker_of
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from art.asking.asker import Asker
from art.asking.prompts import num_shared
from art.asking.sampling import Sampling
from art.data.passages import PassageStore

ROWS = [7, 1, 20]
MODELS = ["tiny_t5", "tiny_llama"]


def by_hugging_face(folder: Path, asker: Asker, context: list[int]) -> list[int]:
    """What transformers itself generates behind a prompt, greedily."""
    causal = "llama" in folder.name
    kind = AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    ids = model.generate(
        input_ids=torch.tensor([context]),
        max_new_tokens=NUM_TOKENS,
        do_sample=False,
        pad_token_id=0,
    )[0].tolist()
    return ids[len(context) :] if causal else ids[1:]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("examples", [(), ("who built the bridge ?", "what is the moon")])
def test_the_most_likely_questions_are_those_of_generate(
    model: str, examples, store: PassageStore, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)
    asker = asker_of(folder, per_passage=1, temperature=0, examples=examples)
    passages = asked_of(asker, store, ROWS)
    found = asker.ask(passages)
    expected = []
    for passage in passages:
        for context in asker.prompts.contexts(passage.passage_id, passage.ids):
            ids = by_hugging_face(folder, asker, context)
            text = asker._tokenizer.decode(ids, skip_special_tokens=True)
            expected.append((passage.passage_id, text.strip().split("\n")[0].split()))
    assert [(one.passage_id, one.text.split()) for one in found] == expected
    assert any(words for _, words in expected)


@pytest.mark.parametrize("model", MODELS)
def test_neither_batch_nor_order_nor_neighbours_change_what_is_asked(
    model: str, store: PassageStore, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)
    asker = asker_of(folder, temperature=1.0)
    together = asker.ask(asked_of(asker, store, ROWS))
    asker = asker_of(folder, temperature=1.0, batch_tokens=1)
    alone = [one for row in ROWS[::-1] for one in asker.ask(asked_of(asker, store, [row]))]
    key = lambda one: (one.passage_id, one.kind)  # noqa: E731
    assert sorted(together, key=key) == sorted(alone, key=key)
    assert len({one.text for one in together}) == len(together)  # nobody asks twice
    more = asker_of(folder, temperature=1.0, per_passage=3, kinds=("claim", "question"))
    asked = [one for one in more.ask(asked_of(more, store, ROWS)) if one.kind == "question"]
    before = [one for one in together if one.kind == "question"]
    assert [asked[i] for i in range(len(asked)) if i % 3 < 2] == before


def test_a_passage_is_read_once_for_all_its_questions(
    tiny_llama: Path, store: PassageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = asker_of(tiny_llama, kinds=("question", "keywords", "claim"))
    passages = asked_of(asker, store, ROWS)
    read: list[int] = []
    forward = asker._passes.forward

    def counting(**inputs):
        num_tokens = inputs["input_ids"].shape[1]
        read.append(int(inputs["attention_mask"][:, -num_tokens:].sum()))
        return forward(**inputs)

    monkeypatch.setattr(asker._passes, "forward", counting)
    asker.ask(passages)
    prompts = [asker.prompts.contexts(one.passage_id, one.ids) for one in passages]
    shared = [num_shared(some) for some in prompts]
    assert all(len(one.ids) < length for one, length in zip(passages, shared, strict=True))
    rest = sum(
        len(ids) - length for some, length in zip(prompts, shared, strict=True) for ids in some
    )
    assert read[:2] == [sum(shared), 2 * rest]  # then a token of each question at a time
    assert max(read[2:]) <= len(passages) * asker.num_questions


@pytest.mark.parametrize(
    ("written", "text", "is_cut"),
    [
        ("  who \t built it ?<|end|>", "who built it ?", False),
        ("\n\nwho built it ?\nwhat", "who built it ?", False),
        ("Question: who ?<|im_start|>", "who ?", False),
        ("<|end|>", "", False),
        (" who" * 8, " ".join(["who"] * 8), True),  # two tokens each
    ],
)
def test_what_ends_a_question(
    written: str, text: str, is_cut: bool, tiny_llama: Path, store: PassageStore
) -> None:
    asker = asker_of(tiny_llama, kinds=("question",), per_passage=1)
    ids = iter(asker._tokenizer(written, add_special_tokens=False)["input_ids"])

    class Scripted(Sampling):
        def draw(self, logits, uniforms):
            return np.array([next(ids)])

    asker._sampling = Scripted()
    (found,) = asker.ask(asked_of(asker, store, [0]))
    assert (found.text, found.is_cut) == (text, is_cut)
