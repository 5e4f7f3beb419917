"""A context is read once for all its targets, and nobody can tell from the scores."""

from __future__ import annotations

import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from language_model_pairs import by_hugging_face, pairs, sharpen, with_tokenizer_of
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from art.teacher import forward
from art.teacher.kinds.question_likelihood import QuestionLikelihood
from art.teacher.registry import load_teacher

TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}


def loaded(folder: Path, dtype: str = "float32") -> QuestionLikelihood:
    return load_teacher(str(folder), dtype=dtype, device="cpu")


def made(model: torch.nn.Module, source: Path, folder: Path) -> Path:
    sharpen(model)
    return with_tokenizer_of(source, folder, model)


@pytest.fixture(scope="module")
def size(llama: Path) -> int:
    return LlamaConfig.from_pretrained(llama).vocab_size


@pytest.fixture(scope="module")
def folders(
    t5_tied: Path,
    t5_untied: Path,
    llama: Path,
    tiny_t5: Path,
    tiny_llama: Path,
    size: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Path]:
    """Encoder–decoder models with and without absolute positions; heads shared by keys; ALiBi."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    gpt2 = GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=700)
    bloom = BloomConfig(vocab_size=size, hidden_size=32, n_layer=2, n_head=4)
    bart = BartConfig(
        vocab_size=200,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
        init_std=0.08,
    )
    return [
        t5_tied,
        t5_untied,
        llama,
        made(GPT2LMHeadModel(gpt2), tiny_llama, root / "gpt2"),
        made(BloomForCausalLM(bloom), tiny_llama, root / "bloom"),
        made(BartForConditionalGeneration(bart), tiny_t5, root / "bart"),
    ]


@pytest.fixture(scope="module")
def scored(folders: list[Path]) -> list[tuple[QuestionLikelihood, list, list, np.ndarray]]:
    found = []
    for folder in folders:
        teacher = loaded(folder)
        contexts, targets = pairs(teacher)
        if teacher.family == "causal":  # a context of which nothing can be read before its targets
            contexts, targets = [*contexts, [7], [7]], [*targets, [9, 5], [6]]
        found.append((teacher, contexts, targets, by_hugging_face(folder, contexts, targets)))
    return found


@pytest.mark.parametrize("model", range(6))
@settings(max_examples=8, deadline=None)
@given(
    chosen=st.lists(st.integers(0, 24), max_size=12),
    batch_tokens=st.integers(1, 3000),
    share=st.booleans(),
)
def test_scores_are_those_of_one_pair_at_a_time(
    scored: list, model: int, chosen: list[int], batch_tokens: int, share: bool
) -> None:
    teacher, contexts, targets, expected = scored[model]
    chosen = [*chosen, len(contexts) - 1, len(contexts) - 2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "batch_tokens", batch_tokens)
        patch.setattr(teacher, "share", share)
        scores = teacher.log_likelihoods(
            [contexts[i] for i in chosen], [targets[i] for i in chosen]
        )
    assert teacher._passes.shares_contexts and expected.std() > 0.1
    np.testing.assert_allclose(scores, expected[chosen], rtol=0, atol=1e-5)


class Spy:
    """Counts what goes through a teacher, and watches what stays alive."""

    def __init__(self, teacher: QuestionLikelihood, patch: pytest.MonkeyPatch) -> None:
        self._passes = teacher._passes
        assert self._passes.shares_contexts  # tried out now, not while it is watched
        self._states: list[weakref.ref] = []
        self.read: list[int] = []  # contexts by batch
        self.targets: list[tuple[str, int]] = []
        self.sizes: list[tuple[int, int]] = []  # sequences and padded tokens
        self._original = {name: getattr(self._passes, name) for name in ("read", "follow", "whole")}
        for name in self._original:
            patch.setattr(self._passes, name, getattr(self, "_" + name))

    def _read(self, contexts: list) -> forward.ReadContexts:
        assert not any(state() is not None for state in self._states), "two batches' states"
        found = self._original["read"](contexts)
        tensors = [found.states] if torch.is_tensor(found.states) else found.states[0]
        self._states += [weakref.ref(tensor) for tensor in tensors]
        self.read.append(len(contexts))
        # Keys and values are [c, heads, L, D], an encoder's states [c, L, D].
        self.sizes.append((len(contexts), len(contexts) * tensors[0].shape[-2]))
        return found

    def _follow(self, read: forward.ReadContexts, rows: np.ndarray, targets: list) -> tuple:
        found = self._original["follow"](read, rows, targets)
        longest = int(read.lengths[torch.from_numpy(rows)].max())
        self.sizes.append((len(rows), len(rows) * (longest + found.ids.shape[1])))
        self.targets.append(("follow", len(rows)))
        return found

    def _whole(self, contexts: list, targets: list) -> tuple:
        longest = max(len(a) + len(b) for a, b in zip(contexts, targets, strict=True))
        self.sizes.append((len(targets), len(targets) * longest))
        self.targets.append(("whole", len(targets)))
        return self._original["whole"](contexts, targets)


@pytest.mark.parametrize("model", [1, 2])
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("batch_tokens", [300, 1500])
def test_no_batch_holds_more_padded_tokens_than_its_budget(
    scored: list, model: int, share: bool, batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, contexts, targets, _ = scored[model]
    spy = Spy(teacher, monkeypatch)
    monkeypatch.setattr(teacher, "batch_tokens", batch_tokens)
    monkeypatch.setattr(teacher, "share", share)
    teacher.log_likelihoods(contexts, targets)
    assert len(spy.sizes) > 2 and sum(count for _, count in spy.targets) == len(targets)
    assert all(tokens <= batch_tokens or count == 1 for count, tokens in spy.sizes)


@pytest.mark.parametrize("model", [1, 2])
def test_a_context_is_read_once_for_all_its_targets(
    scored: list, model: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, contexts, targets, _ = scored[model]
    assert teacher._passes.shares_contexts
    spy = Spy(teacher, monkeypatch)
    teacher.log_likelihoods(contexts[:25], targets[:25])
    assert sum(spy.read) == 5 and {kind for kind, _ in spy.targets} == {"follow"}


@pytest.mark.parametrize("model", [1, 2])
def test_contexts_of_one_target_each_cost_what_they_cost_unshared(
    scored: list, model: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, contexts, targets, _ = scored[model]
    monkeypatch.setattr(teacher, "batch_tokens", 400)
    counts = []
    for share in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(teacher, "share", share)
            spy = Spy(teacher, patch)
            teacher.log_likelihoods(contexts[:25:5], targets[:25:5])
            counts.append((spy.read, spy.targets, spy.sizes))
    assert counts[0] == counts[1]
    # A batch of contexts is decoded as one batch, or read with its targets in one sequence.
    assert len(spy.targets) == len(spy.read) or not spy.read


def test_half_precision_shares_too(llama: Path) -> None:
    teacher = loaded(llama, "bfloat16")
    contexts, targets = pairs(teacher)
    shared = teacher.log_likelihoods(contexts, targets)
    assert teacher._passes.shares_contexts
    teacher.share = False
    np.testing.assert_allclose(shared, teacher.log_likelihoods(contexts, targets), atol=0.3)


WINDOW = 24
MODELS = {
    "window in every layer": (MistralForCausalLM, MistralConfig, {"sliding_window": WINDOW}),
    "window in every second layer": (
        Gemma2ForCausalLM,
        Gemma2Config,
        {"sliding_window": WINDOW, "head_dim": 8},
    ),
    "positions scaled by the length": (
        LlamaForCausalLM,
        LlamaConfig,
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}},
    ),
    "state instead of a cache": (MambaForCausalLM, MambaConfig, {}),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_cannot_go_on_from_a_cache_are_scored_unshared(
    name: str, tiny_llama: Path, size: int, tmp_path: Path
) -> None:
    kind, config, changed = MODELS[name]
    torch.manual_seed(0)
    model = kind(config(**(TINY | {"vocab_size": size, "pad_token_id": 0} | changed)))
    folder = made(model, tiny_llama, tmp_path / "model")
    teacher = loaded(folder)
    contexts, targets = pairs(teacher)
    scores = teacher.log_likelihoods(contexts, targets)
    assert not teacher._passes.shares_contexts
    expected = by_hugging_face(folder, contexts, targets)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def shifted(states: list, rows: torch.Tensor, longest: int) -> object:
    return REPEATED([(keys.roll(1, 0), values) for keys, values in states], rows, longest)


def refused(*_: object) -> object:
    raise TypeError("no cache, please")


REPEATED = forward._repeated


@pytest.mark.parametrize("fault", [shifted, refused])
def test_a_cache_that_changes_the_scores_is_found_out(
    fault: object, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = loaded(llama)
    monkeypatch.setattr(forward, "_repeated", fault)
    contexts, targets = pairs(teacher)
    scores = teacher.log_likelihoods(contexts, targets)
    assert not teacher._passes.shares_contexts
    expected = by_hugging_face(llama, contexts, targets)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_want_of_memory_is_not_taken_for_want_of_a_cache(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = loaded(llama)

    def full(*_: object) -> object:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(teacher._passes, "read", full)
    with pytest.raises(torch.OutOfMemoryError):
        _ = teacher._passes.shares_contexts


def test_layers_that_borrow_states_are_not_taken_for_a_whole_cache() -> None:
    cache = forward.DynamicCache()
    cache.update(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 3, 4), 0)
    assert len(forward._keys_and_values(cache, 3)) == 1
    with pytest.raises(ValueError, match="every position"):
        forward._keys_and_values(cache, 4)
    cache.layers.append(forward.DynamicLayer())
    with pytest.raises(ValueError, match="every layer"):
        forward._keys_and_values(cache, 3)
    with pytest.raises(ValueError):
        forward._keys_and_values(SimpleNamespace(layers=cache.layers[:1]), 3)
