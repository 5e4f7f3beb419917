"""A CPU's attention gives what torch's own gives, whatever the model passes it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    FalconConfig,
    FalconForCausalLM,
    Gemma4ForCausalLM,
    Gemma4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from art.teacher import attention
from art.teacher.attention import blocked_attention, in_blocks, same_in_blocks
from art.teacher.kinds.question_likelihood import QuestionLikelihood
from art.teacher.registry import load_teacher

SIZE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


@settings(deadline=None, max_examples=100)
@given(
    rows=st.integers(1, 4),
    groups=st.integers(1, 3),
    shared_by=st.integers(1, 3),
    before=st.integers(0, 9),
    queries=st.integers(1, 20),
    mask=st.sampled_from(["none", "causal", "left", "right", "window", "added", "by head"]),
    biased=st.booleans(),
    block=st.integers(1, 8),
    scores=st.integers(1, 400),
    scaling=st.sampled_from([None, 1.0, 0.3]),
    seed=st.integers(0, 99),
)
def test_blocks_of_any_size_give_what_torch_gives(
    rows, groups, shared_by, before, queries, mask, biased, block, scores, scaling, seed
):
    torch.manual_seed(seed)
    if mask == "none":
        before = 0  # torch would align the triangle with the first key
    heads, keys = groups * shared_by, before + queries
    query = torch.randn(rows, heads, queries, 8)
    key, value = torch.randn(rows, groups, keys, 8), torch.randn(rows, groups, keys, 6)
    given_mask = masks(rows, heads, queries, keys)[mask]
    bias = torch.randn(1, heads, queries, keys) if biased else None
    inputs = (SimpleNamespace(is_causal=mask == "none"), query, key, value, given_mask)
    added = torch.zeros(rows, heads, queries, keys) if bias is None else bias
    if given_mask is not None and given_mask.dtype == torch.bool:
        added = added.masked_fill(~given_mask, torch.finfo(added.dtype).min)
    elif given_mask is not None:
        added = added + given_mask
    else:
        later = torch.ones(queries, keys, dtype=torch.bool).triu(1)
        added = added.masked_fill(later, torch.finfo(added.dtype).min)
    each = (some.repeat_interleave(shared_by, dim=1) for some in (key, value))
    expected = scaled_dot_product_attention(query, *each, attn_mask=added, scale=scaling)
    expected = expected.transpose(1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "_QUERIES", block)
        patch.setattr(attention, "_SCORES", scores)
        found, weights = blocked_attention(*inputs, scaling=scaling, position_bias=bias)
    assert weights is None
    if mask in ("left", "window"):  # nobody reads what queries get that see nothing
        sees = given_mask.any(dim=-1)[:, 0]
        found, expected = found[sees.expand(rows, -1)], expected[sees.expand(rows, -1)]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def masks(rows: int, heads: int, queries: int, keys: int) -> dict[str, torch.Tensor | None]:
    triangle = torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)
    padded = torch.arange(keys) >= torch.randint(0, keys, (rows, 1))
    return {
        "none": None,
        "causal": triangle.expand(rows, 1, -1, -1),
        "left": triangle & padded[:, None, None],
        "right": padded.flip(1)[:, None, None].expand(-1, 1, queries, -1),
        "window": (triangle & ~triangle.tril(-3)).expand(1, 1, -1, -1),
        "added": torch.randn(rows, 1, queries, keys),
        "by head": torch.randn(rows, heads, queries, keys),
    }


def test_without_a_mask_the_layer_says_whether_later_keys_are_seen():
    query, key, value = torch.randn(3, 1, 2, 5, 8)
    for is_causal in (True, False):
        found, _ = blocked_attention(SimpleNamespace(is_causal=is_causal), query, key, value, None)
        expected = scaled_dot_product_attention(query, key, value, is_causal=is_causal)
        torch.testing.assert_close(found.transpose(1, 2), expected)


def llama() -> torch.nn.Module:
    return LlamaForCausalLM(LlamaConfig(**SIZE, num_key_value_heads=2))


def mistral() -> torch.nn.Module:
    return MistralForCausalLM(MistralConfig(**SIZE, num_key_value_heads=2, sliding_window=40))


def t5() -> torch.nn.Module:
    shape = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    return T5ForConditionalGeneration(T5Config(vocab_size=50, decoder_start_token_id=0, **shape))


def gemma4() -> torch.nn.Module:
    """Its layers that borrow keys read fewer positions, if they know the attention's name."""
    config = {**SIZE, "num_hidden_layers": 4, "num_kv_shared_layers": 2, "head_dim": 8}
    config |= {"layer_types": ["full_attention"] * 4}
    config |= {"num_key_value_heads": 2, "vocab_size_per_layer_input": 50, "global_head_dim": 8}
    return Gemma4ForCausalLM(Gemma4TextConfig(**config, hidden_size_per_layer_input=8))


@pytest.mark.parametrize("make", [llama, mistral, gemma4, t5])
@pytest.mark.parametrize("lengths", [(150, 150, 150), (40, 150, 120)])
@pytest.mark.parametrize("share", [False, True])
def test_scores_are_those_with_torchs_attention(make, lengths, share):
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)  # so that scores depend on what is attended to
    family = "encoder-decoder" if model.config.is_encoder_decoder else "causal"
    template = SimpleNamespace(family=family)
    teacher = QuestionLikelihood(model, template, fingerprint="", share=share)
    contexts = [torch.randint(2, 50, (length,)).tolist() for length in lengths] * 2
    targets = [torch.randint(2, 50, (9,)).tolist() for _ in contexts]
    assert teacher.attends_in_blocks or make is t5  # written out in older transformers
    found = teacher.log_likelihoods(contexts, targets)
    teacher.attends_in_blocks = False
    expected = teacher.log_likelihoods(contexts, targets)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_a_query_that_sees_nothing_gets_numbers_in_float16():
    query, key, value = torch.randn(3, 2, 2, 5, 8).half()
    nothing = torch.zeros(2, 1, 5, 5, dtype=torch.bool)
    for mask in (nothing, torch.full(nothing.shape, torch.finfo(torch.float16).min)):
        found, _ = blocked_attention(
            SimpleNamespace(is_causal=True), 9 * query, 9 * key, value, mask
        )
        assert found.isfinite().all()


def test_a_bias_may_be_the_same_for_all_queries():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, 100, 8)
    sees = torch.rand(2, 1, 1, 100) < 0.5
    inputs = (SimpleNamespace(is_causal=False), query, key, value)
    found, _ = blocked_attention(*inputs, sees)
    expected, _ = blocked_attention(*inputs, sees.expand(-1, -1, 100, -1).contiguous())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    outside = torch.where(sees, 0.0, -torch.inf)
    torch.testing.assert_close(blocked_attention(*inputs, outside)[0], found)


def test_a_model_that_writes_its_attention_out_keeps_it():
    assert not same_in_blocks(FalconForCausalLM(FalconConfig(**SIZE)).eval())


@pytest.mark.parametrize("fault", [None, RuntimeError("what is that?")])
def test_a_model_that_would_compute_something_else_keeps_its_own(monkeypatch, fault):
    def wrong(module, query, *_, **__):
        if fault is not None:
            raise fault
        return query.transpose(1, 2), None

    monkeypatch.setattr(attention, "blocked_attention", wrong)
    assert not same_in_blocks(llama().eval())


def test_torchs_attention_is_back_when_nothing_is_scored():
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    with pytest.raises(ZeroDivisionError), in_blocks():
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is blocked_attention
        raise ZeroDivisionError
    assert same_in_blocks(llama().eval())
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is before


def test_another_attention_is_left_alone(tiny_llama):
    told = load_teacher(str(tiny_llama), device="cpu", dtype="float32", attention="eager")
    assert not told.attends_in_blocks


def test_rounding_alone_does_not_turn_a_model_away():
    torch.manual_seed(0)
    model = llama().eval().bfloat16()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(20)  # so that rounding changes which keys are looked at
    assert same_in_blocks(model)
