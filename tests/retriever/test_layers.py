"""Training the upper layers alone: what learns in several families, and the gradient it gets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers import AutoModel, AutoModelForTextEncoding

from art.errors import ConfigError
from art.retriever.encoders import Tower
from art.retriever.layers import train_upper_layers
from art.retriever.loading import create_retriever
from art.retriever.static import StaticEmbeddingConfig, StaticEmbeddingModel

TEXTS = ["who built the stone bridge", "paper of the north"]
SHORT = {"question_length": 32, "passage_length": 48}
COMMON = {"vocab_size": 60, "pad_token_id": 0}
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    **COMMON,
}
SPECIAL = {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
GROUPED = {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "bos_token_id": 2, "eos_token_id": 3}

# Model type → its sizes, where its last layer is, what stands behind it.
FAMILIES: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    "BertConfig": (SIZES, "encoder.layer.2", set()),
    "XLMRobertaConfig": (SIZES, "encoder.layer.2", set()),
    "MPNetConfig": (SIZES, "encoder.layer.2", set()),  # its relative positions are every layer's
    "DistilBertConfig": (
        {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64, **COMMON},
        "transformer.layer.2",
        set(),
    ),
    "DebertaV2Config": (
        {**SIZES, "relative_attention": True, "pos_att_type": ["p2c"], "conv_kernel_size": 3},
        "encoder.layer.2",
        set(),
    ),
    "ModernBertConfig": ({**SIZES, **SPECIAL}, "layers.2", {"final_norm.weight"}),
    "T5Config": (
        {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 4, **COMMON},
        "encoder.block.2",
        {"encoder.final_layer_norm.weight"},
    ),
    "Qwen3Config": (GROUPED, "layers.2", {"norm.weight"}),
    "GPT2Config": (
        {
            "n_embd": 32,
            "n_layer": 3,
            "n_head": 4,
            "bos_token_id": 2,
            "eos_token_id": 3,
            **COMMON,
        },
        "h.2",
        {"ln_f.weight", "ln_f.bias"},
    ),
}


def tower_of(config: str, sizes: dict[str, Any]) -> Tower:
    torch.manual_seed(0)
    kind = AutoModelForTextEncoding if config == "T5Config" else AutoModel
    backbone = kind.from_config(getattr(transformers, config)(**sizes))
    return Tower(backbone, pooling="mean", normalize=False, dtype="float32").eval()


def learning(module: nn.Module) -> set[str]:
    return {name for name, one in module.named_parameters() if one.requires_grad}


@pytest.mark.parametrize("config", FAMILIES)
def test_the_last_layers_and_what_stands_behind_them_learn(config) -> None:
    sizes, last, behind = FAMILIES[config]
    stem, _, number = last.rpartition(".")
    for count in (3, 2, 1):  # each freezes more than the one before
        tower = tower_of(config, sizes)
        train_upper_layers(tower, tower.backbone, count)
        kept = tuple(f"{stem}.{int(number) - i}." for i in range(count))
        names = {name for name, _ in tower.backbone.named_parameters() if name.startswith(kept)}
        assert names and learning(tower.backbone) == names | behind


def test_layers_that_cannot_be_told_apart_are_refused() -> None:
    xlm = {"emb_dim": 32, "n_layers": 3, "n_heads": 4, "vocab_size": 60, "pad_index": 0}
    unusable = {
        "AlbertConfig": ({**SIZES, "embedding_size": 16}, "albert has no layers of its own"),
        "XLMConfig": (xlm, r"xlm has its layers in pieces \(attentions, layer_norm1, ffns"),
        "SqueezeBertConfig": ({**SIZES, "embedding_size": 32}, "do not follow one another"),
        "BertConfig": (SIZES, "train_layers is 4, but the model has 3"),
    }
    for config, (sizes, what) in unusable.items():
        tower = tower_of(config, sizes)
        with pytest.raises(ConfigError, match=what):
            train_upper_layers(tower, tower.backbone, 4 if config == "BertConfig" else 2)
    table = StaticEmbeddingModel(StaticEmbeddingConfig(vocab_size=60, hidden_size=8))
    words = Tower(table, pooling="mean", normalize=True, dtype="float32")
    with pytest.raises(ConfigError, match="static_embedding has no layers of its own"):
        train_upper_layers(words, table, 1)


def gradient(retriever: Any) -> dict[str, torch.Tensor]:
    ids = retriever.tokenizer(TEXTS, padding=True, return_tensors="pt")
    question, passage = retriever(*(ids["input_ids"], ids["attention_mask"].bool()) * 2)
    (question @ passage.T).square().sum().backward()
    return {n: p.grad for n, p in retriever.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("tied", [True, False])
def test_what_learns_gets_the_gradient_that_it_has_when_all_learn(tiny_bert, tied) -> None:
    options = {"tied": tied, "projection_size": 8, "normalize": True, **SHORT}
    whole = gradient(create_retriever(str(tiny_bert), **options))
    upper = gradient(create_retriever(str(tiny_bert), train_layers=1, **options))
    assert set(upper) == {n for n in whole if ".layer.1." in n or ".projection." in n}
    assert len({name.partition(".")[0] for name in upper}) == (1 if tied else 2)
    for name, found in upper.items():
        torch.testing.assert_close(found, whole[name])


def test_a_frozen_tower_stays_frozen_whole(tiny_bert) -> None:
    retriever = create_retriever(str(tiny_bert), freeze="passage", train_layers=1, **SHORT)
    assert not retriever.passage_tower.trainable
    assert all(".layer.1." in name for name in learning(retriever.question_tower))


def test_recomputed_activations_leave_the_gradient_as_it_is(tiny_bert) -> None:
    model = str(tiny_bert)
    options = {"train_layers": 1, "dtype": "bfloat16", "dropout": 0.0, **SHORT}
    found = [
        gradient(create_retriever(model, activation_checkpointing=again, **options).train())
        for again in (False, True)
    ]
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        assert found[0][name].dtype == torch.float32
        torch.testing.assert_close(found[1][name], found[0][name])
