"""A CPU's attention gives what torch's own gives, whatever the model passes it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    FalconConfig,
    FalconForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from art.scorer import attention
from art.scorer.attention import attend_in_blocks, blocked_attention
from art.scorer.likelihood import load_scorer

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
    module = SimpleNamespace(is_causal=mask == "none", num_key_value_groups=shared_by)
    inputs = (module, query, key, value, given_mask)
    expected, _ = sdpa_attention_forward(*inputs, scaling=scaling, position_bias=bias)
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


@pytest.mark.parametrize("make", [llama, mistral, t5])
def test_a_model_gives_the_same_logits_over_several_blocks(make):
    torch.manual_seed(0)
    model = make().eval()
    ids = torch.randint(2, 50, (3, 150))
    mask = torch.ones_like(ids)
    mask[0, 40:] = mask[1, 120:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :90]
    seen = mask[:, :90].bool()
    with torch.no_grad():
        assert model.config._attn_implementation == "sdpa"
        expected = model(**inputs).logits[:, :90][seen]
        attend_in_blocks(model)
        assert model.config._attn_implementation == "art_blocked"
        found = model(**inputs).logits[:, :90][seen]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_model_that_writes_its_attention_out_keeps_it(caplog):
    model = FalconForCausalLM(FalconConfig(**SIZE)).eval()
    attend_in_blocks(model)
    assert model.config._attn_implementation == "sdpa"
    assert not caplog.records


@pytest.mark.parametrize("fault", [None, RuntimeError("what is that?")])
def test_a_model_that_would_compute_something_else_keeps_its_own(monkeypatch, fault):
    def wrong(module, query, *_, **__):
        if fault is not None:
            raise fault
        return query.transpose(1, 2), None

    monkeypatch.setattr(attention, "blocked_attention", wrong)
    model = llama().eval()
    attend_in_blocks(model)
    assert model.config._attn_implementation == "sdpa"


def test_a_scorer_uses_it_unless_told_which_attention_to_use(tiny_llama):
    chosen = load_scorer(str(tiny_llama), device="cpu", dtype="float32").model
    told = load_scorer(str(tiny_llama), device="cpu", dtype="float32", attention="sdpa").model
    assert chosen.config._attn_implementation == attention._NAME
    assert told.config._attn_implementation == "sdpa"


def test_rounding_alone_does_not_turn_a_model_away():
    torch.manual_seed(0)
    model = llama().eval().bfloat16()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(20)  # so that rounding changes which keys are looked at
    attend_in_blocks(model)
    assert model.config._attn_implementation == attention._NAME
