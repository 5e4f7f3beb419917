"""Question log-likelihoods against Hugging Face's own loss, one pair at a time."""

from __future__ import annotations

import weakref
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from language_model_pairs import by_hugging_face, pairs, sharpen, with_tokenizer_of
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaModel,
)

from art.errors import ArtError
from art.teacher import log_probabilities
from art.teacher.kinds.question_likelihood import QuestionLikelihood
from art.teacher.log_probabilities import token_log_probabilities
from art.teacher.registry import load_teacher


@pytest.mark.parametrize("name", ["t5_tied", "t5_untied", "llama"])
@pytest.mark.parametrize("batch_tokens", [1, 700, None])
def test_mean_is_minus_hugging_faces_loss(
    name: str, batch_tokens: int | None, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    teacher = load_teacher(str(folder), dtype="float32", device="cpu", batch_tokens=batch_tokens)
    contexts, targets = pairs(teacher)
    expected = by_hugging_face(folder, contexts, targets)
    scores = teacher.log_likelihoods(contexts, targets)
    assert scores.dtype == np.float32 and scores.shape == (25,)
    assert expected.std() > 0.1  # else any order would pass
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_t5_heads_are_tied_and_scaled_as_saved(t5_tied: Path, t5_untied: Path) -> None:
    first, later = (
        load_teacher(str(folder), device="cpu").model for folder in (t5_tied, t5_untied)
    )
    assert torch.equal(first.lm_head.weight, first.shared.weight)
    assert not torch.equal(later.lm_head.weight, later.shared.weight)
    assert (first.config.scale_decoder_outputs, later.config.scale_decoder_outputs) == (True, False)


@pytest.mark.parametrize("name", ["t5_untied", "llama"])
def test_sum_is_the_mean_times_the_number_of_target_tokens(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder = str(request.getfixturevalue(name))
    mean = load_teacher(folder, dtype="float32", device="cpu")
    total = load_teacher(folder, dtype="float32", device="cpu", reduction="sum")
    contexts, targets = pairs(mean)
    counts = np.array([len(ids) for ids in targets])
    np.testing.assert_allclose(
        total.log_likelihoods(contexts, targets),
        mean.log_likelihoods(contexts, targets) * counts,
        rtol=2e-6,
    )
    assert mean.fingerprint != total.fingerprint


@pytest.fixture(scope="module")
def scored(t5_untied: Path, llama: Path) -> list[tuple[QuestionLikelihood, list, list, np.ndarray]]:
    found = []
    for folder in (t5_untied, llama):
        teacher = load_teacher(str(folder), dtype="float32", device="cpu")
        contexts, targets = pairs(teacher)
        found.append((teacher, contexts, targets, by_hugging_face(folder, contexts, targets)))
    return found


@settings(max_examples=15, deadline=None)
@given(
    chosen=st.lists(st.integers(0, 24), max_size=12),
    batch_tokens=st.integers(1, 3000),
    family=st.integers(0, 1),
    share=st.booleans(),
)
def test_order_company_budget_and_sharing_do_not_matter(
    scored: list[tuple[QuestionLikelihood, list, list, np.ndarray]],
    chosen: list[int],
    batch_tokens: int,
    family: int,
    share: bool,
) -> None:
    teacher, contexts, targets, expected = scored[family]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "batch_tokens", batch_tokens)
        patch.setattr(teacher, "share", share)
        scores = teacher.log_likelihoods(
            [contexts[i] for i in chosen], [targets[i] for i in chosen]
        )
    np.testing.assert_allclose(scores, expected[chosen], rtol=0, atol=1e-5)


def test_no_batchs_scores_outlive_the_next_batch(llama: Path, monkeypatch) -> None:
    # Small as they are, they would keep the memory of the batches from being used again.
    teacher = load_teacher(str(llama), dtype="float32", device="cpu", batch_tokens=64)
    reduced, earlier, alive = teacher._reduced, [], []

    def watched(found):
        alive.append(sum(of() is not None for of in earlier[:-1]))
        scores = reduced(found)
        earlier.append(weakref.ref(scores))
        return scores

    monkeypatch.setattr(teacher, "_reduced", watched)
    teacher.log_likelihoods(*pairs(teacher))
    assert len(alive) > 3 and not any(alive)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("family", [0, 1])
def test_the_vocabulary_meets_the_targets_tokens_only(
    scored: list, family: int, share: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, contexts, targets, _ = scored[family]
    monkeypatch.setattr(teacher, "share", share)
    _ = teacher.attends_in_blocks, teacher._passes.shares_contexts  # tried out beforehand
    shapes, blocks = [], []  # torch copies a head once per row if its input is not one block

    def spy(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        shapes.append(inputs[0].shape[:2])
        blocks.append(inputs[0].is_contiguous())

    hook = teacher.model.get_output_embeddings().register_forward_pre_hook(spy)
    teacher.log_likelihoods(contexts, targets)
    hook.remove()
    assert all(blocks)
    given, wanted = sum(rows * width for rows, width in shapes), sum(map(len, targets))
    # A decoder-only model that reads a context alone gives it one logit that nobody asked for.
    unasked = len(contexts) if share and teacher.family == "causal" else 0
    assert wanted <= given <= wanted + unasked


@pytest.mark.parametrize("chunk", [1, 100, 1 << 22])
def test_token_log_probabilities_are_a_float32_log_softmax(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_probabilities, "_CHUNK_LOGITS", chunk)
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(3, 5, 40, generator=generator) * 8).bfloat16()
    ids = torch.randint(0, 40, (3, 5), generator=generator)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [0, 0, 1, 1, 0]]).bool()
    expected = logits.double().log_softmax(-1).gather(-1, ids[..., None])[..., 0] * mask
    found = token_log_probabilities(logits[mask], ids, mask)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_models_without_logits_to_keep_or_position_ids_agree_too(
    tiny_llama: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(load_teacher(str(llama), device="cpu").template._encoder._backend.get_vocab())
    torch.manual_seed(0)
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=700)
    )
    bloom = BloomForCausalLM(BloomConfig(vocab_size=size, hidden_size=32, n_layer=2, n_head=4))
    for name, model in {"gpt2": gpt2, "bloom": bloom}.items():  # absolute positions; none at all
        sharpen(model)
        folder = with_tokenizer_of(tiny_llama, tmp_path / name, model)
        teacher = load_teacher(str(folder), dtype="float32", device="cpu")
        contexts, targets = pairs(teacher)
        expected = by_hugging_face(folder, contexts, targets)
        accepted = teacher._passes._accepts
        for share, known in product([False, True], [accepted, accepted - {"logits_to_keep"}]):
            monkeypatch.setattr(teacher, "share", share)
            monkeypatch.setattr(teacher._passes, "_accepts", known)
            scores = teacher.log_likelihoods(contexts, targets)
            np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5, err_msg=name)


def test_nothing_to_score_gives_nothing(scored: list) -> None:
    for teacher, *_ in scored:
        assert teacher.log_likelihoods([], []).shape == (0,)


def test_an_empty_context_or_target_is_one_clear_error(scored: list) -> None:
    for teacher, *_ in scored:
        with pytest.raises(ArtError, match="at least one token of context"):
            teacher.log_likelihoods([[]], [[5]])
        with pytest.raises(ArtError, match="at least one token of target"):
            teacher.log_likelihoods([[5], [5]], [[5], []])


def test_nothing_can_learn(t5_tied: Path, llama: Path) -> None:
    for folder in (t5_tied, llama):
        teacher = load_teacher(str(folder), device="cpu")
        assert not any(p.requires_grad for p in teacher.model.parameters())
        assert not any(module.training for module in teacher.model.modules())


def test_bfloat16_is_close_to_float32(t5_tied: Path, llama: Path) -> None:
    for folder in (t5_tied, llama):
        full = load_teacher(str(folder), dtype="float32", device="cpu")
        half = load_teacher(str(folder), dtype="bfloat16", device="cpu")
        contexts, targets = pairs(full)
        scores = half.log_likelihoods(contexts, targets)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, full.log_likelihoods(contexts, targets), atol=0.3)
        assert full.fingerprint != half.fingerprint


def test_the_fingerprint_follows_weights_prompt_and_lengths(llama: Path, t5_tied: Path) -> None:
    def of(folder: Path, **changed: object) -> str:
        return load_teacher(str(folder), device="cpu", **changed).fingerprint

    same = of(llama)
    assert same == of(llama, batch_tokens=100) == of(llama, question_prefix="Question: ")
    prompt = load_teacher(str(llama), device="cpu", chat_template=True).template.prompt
    assert of(llama, chat_template=True) == of(llama, passage_prompt=prompt, question_prefix="")
    changes = [
        {"max_length": 300},
        {"question_length": 9},
        {"passage_prompt": "{passage} Ask."},
        {"question_prefix": "Q:"},
        {"chat_template": True},
    ]
    others = {of(llama, **changed) for changed in changes}
    assert len(others | {same, of(t5_tied), of(t5_tied, question_prefix="Q: ")}) == 8


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
def test_encoder_only_models_are_refused(kind: type, tiny_bert: Path, tmp_path: Path) -> None:
    model = kind(BertConfig.from_pretrained(tiny_bert))
    folder = with_tokenizer_of(tiny_bert, tmp_path / "bert", model)
    with pytest.raises(ArtError, match="generates no text"):
        load_teacher(str(folder), device="cpu")


def test_a_checkpoint_without_a_head_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    body = LlamaModel(AutoModelForCausalLM.from_pretrained(tiny_llama).config)
    folder = with_tokenizer_of(tiny_llama, tmp_path / "body", body)
    with pytest.raises(ArtError, match=r"lacks 1 weights .* lm_head\.weight"):
        load_teacher(str(folder), device="cpu")


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtError, match="nowhere"):
        load_teacher(str(tmp_path / "nowhere"), device="cpu")


def test_more_tokens_than_positions_are_refused(tiny_llama: Path) -> None:
    with pytest.raises(ArtError, match="reads 1024 tokens at most"):
        load_teacher(str(tiny_llama), max_length=1000, device="cpu")


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu(t5_untied: Path, llama: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    for folder in (t5_untied, llama):
        teacher = load_teacher(str(folder), dtype="float32", device="cpu")
        contexts, targets = pairs(teacher)
        expected = teacher.log_likelihoods(contexts, targets)
        there = load_teacher(str(folder), dtype="float32", device="cuda")
        np.testing.assert_allclose(there.log_likelihoods(contexts, targets), expected, atol=1e-4)
        fast = load_teacher(str(folder), device="cuda").log_likelihoods(contexts, targets)
        np.testing.assert_allclose(fast, expected, atol=0.3)
