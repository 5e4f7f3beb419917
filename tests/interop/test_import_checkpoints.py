"""`art import`: small checkpoints as their programs write them, and forward passes to compare."""

from __future__ import annotations

import argparse
import json
import math
import os
import random
from collections import OrderedDict

import numpy as np
import pytest
import torch
from command import run
from torch.nn import functional as F
from transformers import AutoTokenizer, BertConfig, BertModel

from art.errors import ArtError, ConfigError
from art.interop.importing import import_retriever
from art.retriever.loading import load_retriever

TEXTS = ["who built the moon river", "bridge of paper in winter garden", "why"]
SIZE, NUM_HEADS, NUM_LAYERS = 32, 4, 2


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return AutoTokenizer.from_pretrained(tiny_bert)


def random_states() -> dict:
    return {
        "random_rng_state": random.getstate(),
        "np_rng_state": np.random.get_state(),
        "torch_rng_state": torch.get_rng_state(),
        "cuda_rng_state": torch.zeros(816, dtype=torch.uint8),
    }


# --- DPR -----------------------------------------------------------------------------------------


def bert(vocab_size: int, seed: int) -> BertModel:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=SIZE,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=NUM_HEADS,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    return BertModel(config).eval()


class DPRCase:
    """Two BERTs, the projections behind them, and the `.cp` file that DPR would write of them."""

    def __init__(self, tokenizer, *, projection: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.berts = [bert(len(tokenizer), seed) for seed in (1, 2)]
        self.projections = [
            None if projection is None else torch.nn.Linear(SIZE, projection) for _ in self.berts
        ]

    def state(self, encoder_params: dict | None = None) -> dict:
        model = OrderedDict()
        pairs = zip(("question_model.", "ctx_model."), self.berts, self.projections, strict=True)
        for prefix, one, projection in pairs:
            model[f"{prefix}embeddings.position_ids"] = torch.arange(64)[None]
            model.update({prefix + name: value for name, value in one.state_dict().items()})
            if projection is not None:
                named = projection.state_dict().items()
                model.update({f"{prefix}encode_proj.{name}": value for name, value in named})
        return {
            "model_dict": model,
            "optimizer_dict": {"state": {0: {"exp_avg": torch.ones(5)}}, "param_groups": [{}]},
            "scheduler_dict": {"last_epoch": 3, "args": argparse.Namespace(**random_states())},
            "offset": 0,
            "epoch": 39,
            "encoder_params": encoder_params
            or {
                "do_lower_case": True,
                "pretrained_model_cfg": "bert-base-uncased",
                "encoder_model_type": "hf_bert",
                "pretrained_file": None,
                "projection_dim": 0,
                "sequence_length": 16,
            },
        }

    def vectors(self, tower: int, texts: list[str], pairs: list[str] | None = None):
        batch = self.tokenizer(
            texts, pairs, padding=True, truncation=True, max_length=16, return_tensors="pt"
        )
        with torch.no_grad():
            ids, mask = batch["input_ids"], batch["attention_mask"]
            first = self.berts[tower](input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
            projection = self.projections[tower]
            return (first if projection is None else projection(first)).numpy()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("projection", [None, 12])
def test_dpr_gives_the_vectors_of_its_own_encoders(
    tokenizer, tiny_bert, tmp_path, capsys, projection, zipped
) -> None:
    case = DPRCase(tokenizer, projection=projection)
    path = tmp_path / "dpr_biencoder.39.cp"
    torch.save(case.state(), path, _use_new_zipfile_serialization=zipped)
    output = tmp_path / "made" / "retriever"
    assert run(
        "import", "--from", "dpr-cp", path, "--output", output,
        "--tokenizer", tiny_bert, "--num-heads", str(NUM_HEADS),
    ) == 0  # fmt: skip
    said = capsys.readouterr()
    assert f"two towers, {projection or SIZE} dimensions; questions of 16 tokens" in said.out
    assert said.err.count("neither made nor run") == 1
    assert [one.name for one in output.parent.iterdir()] == ["retriever"]
    retriever = load_retriever(output)
    settings = retriever.settings
    assert (settings.pooling, settings.normalize, settings.tied) == ("cls", False, False)
    assert (settings.question_length, settings.passage_length) == (16, 16)
    assert settings.temperature == 1.0
    questions = retriever.embed_questions(TEXTS)
    assert np.abs(questions - case.vectors(0, TEXTS)).max() < 1e-5
    tokens = retriever.passage_template(["title of music"] * 3, TEXTS)
    passages = retriever.embed_tokens("passage", tokens)
    assert np.abs(passages - case.vectors(1, ["title of music"] * 3, TEXTS)).max() < 1e-5
    saved = json.loads((output / "retriever.json").read_text())
    assert saved["provenance"]["imported_as"] == "dpr-cp"


class Config:
    """Pickled as omegaconf's objects are: the values one level down, each in an object."""

    def __init__(self, **state) -> None:
        self.__dict__.update(state)


def test_settings_in_objects_of_omegaconf_are_read(tokenizer, tiny_bert, tmp_path) -> None:
    values = {"sequence_length": 24, "encoder_model_type": "hf_bert"}
    content = {name: Config(_val=one, _parent=None) for name, one in values.items()}
    encoder = Config(_content=content, _metadata=None)
    state = DPRCase(tokenizer).state({"do_lower_case": True, "encoder": encoder})
    torch.save(state, tmp_path / "model.cp")
    made = import_retriever(
        tmp_path / "model.cp", tmp_path / "out", kind="dpr-cp",
        tokenizer=str(tiny_bert), num_heads=NUM_HEADS,
    )  # fmt: skip
    assert made.settings.passage_length == 24


def changed_dpr(change):
    def make(case: DPRCase) -> dict:
        state = case.state()
        change(state)
        return state

    return make


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda s: None, {"num_heads": None}, r"attention heads.*say it with --num-heads"),
        (lambda s: None, {"num_heads": 5}, "5 attention heads do not divide the size 32"),
        (lambda s: s.pop("model_dict"), {}, "no DPR checkpoint"),
        (
            lambda s: s["encoder_params"].update(encoder_model_type="hf_roberta"),
            {},
            "its encoders are 'hf_roberta'",
        ),
        (
            lambda s: s["model_dict"].pop("ctx_model.encoder.layer.1.output.dense.bias"),
            {},
            r"ctx_encoder.*layer\.1\.output\.dense\.bias has the shape none",
        ),
        (
            lambda s: s["model_dict"].update({"ctx_model.adapter.weight": torch.ones(2)}),
            {},
            r"adapter\.weight has the shape \(2,\), expected none",
        ),
        (
            lambda s: s["model_dict"].update(
                {"question_model.embeddings.word_embeddings.weight": torch.ones(99, SIZE)}
            ),
            {},
            "99 embeddings, but the tokenizer",
        ),
        (
            lambda s: s["model_dict"].update({"ctx_model.embeddings.LayerNorm.bias": "text"}),
            {},
            "is not a plain tensor",
        ),
    ],
)
def test_what_cannot_be_right_is_refused(
    tokenizer, tiny_bert, tmp_path, change, options, message
) -> None:
    state = changed_dpr(change)(DPRCase(tokenizer))
    torch.save(state, tmp_path / "model.cp")
    given = {"tokenizer": str(tiny_bert), "num_heads": NUM_HEADS, **options}
    with pytest.raises(ArtError, match=message) as caught:
        import_retriever(tmp_path / "model.cp", tmp_path / "out", kind="dpr-cp", **given)
    assert "\n" not in str(caught.value)
    assert [one.name for one in tmp_path.iterdir()] == ["model.cp"]


class Runs:
    """Unpickling this runs a program."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_hostile_checkpoint_is_one_line_of_the_command(
    tokenizer, tiny_bert, tmp_path, capsys
) -> None:
    state = DPRCase(tokenizer).state() | {"epoch": Runs(f"touch {tmp_path / 'touched'}")}
    torch.save(state, tmp_path / "model.cp")
    options = ("--tokenizer", tiny_bert, "--output", tmp_path / "out")
    assert run("import", "--from", "dpr-cp", tmp_path / "model.cp", *options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "model.cp: names 'posix.system', which runs programs" in line
    assert [one.name for one in tmp_path.iterdir()] == ["model.cp"]


def test_a_tokenizer_that_is_not_here_is_one_clear_line(tokenizer, tmp_path) -> None:
    torch.save(DPRCase(tokenizer).state(), tmp_path / "model.cp")
    with pytest.raises(ArtError, match=r"its tokenizer, bert-base-uncased.*--tokenizer"):
        import_retriever(
            tmp_path / "model.cp", tmp_path / "out", kind="dpr-cp", num_heads=NUM_HEADS
        )


def test_a_folder_of_something_else_is_left_alone(tmp_path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ArtError, match="not a retriever is there"):
        import_retriever(tmp_path / "model.cp", tmp_path, kind="dpr-cp")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_another_kind_is_refused_with_the_nearest(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"did you mean dpr-cp\?"):
        import_retriever(tmp_path / "model.cp", tmp_path / "out", kind="dpr")


# --- the ART release -----------------------------------------------------------------------------


def megatron(vocab_size: int, seed: int) -> dict[str, torch.Tensor]:
    """Return random weights of one Megatron BERT; query, key and value apart."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return 0.3 * torch.randn(*shape, generator=generator)

    weights = {
        "embedding.word_embeddings.weight": normal(-(-vocab_size // 128) * 128, SIZE),
        "embedding.position_embeddings.weight": normal(64, SIZE),
        "embedding.tokentype_embeddings.weight": normal(2, SIZE),
        "final_layernorm.weight": 1 + normal(SIZE),
        "final_layernorm.bias": normal(SIZE),
    }
    for i in range(NUM_LAYERS):
        layer = f"layers.{i}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{layer}{norm}.weight"] = 1 + normal(SIZE)
            weights[f"{layer}{norm}.bias"] = normal(SIZE)
        linear = {"query": (SIZE, SIZE), "key": (SIZE, SIZE), "value": (SIZE, SIZE)}
        linear |= {"dense": (SIZE, SIZE), "h_to_4h": (64, SIZE), "4h_to_h": (SIZE, 64)}
        for name, shape in linear.items():
            weights[f"{layer}{name}.weight"] = normal(*shape)
            weights[f"{layer}{name}.bias"] = normal(shape[0])
    return weights


def interleaved(three: list[torch.Tensor], version: float) -> torch.Tensor:
    """Return query, key and value in one, row by row as the version lays them out."""
    head_size = SIZE // NUM_HEADS
    found = torch.empty(3 * SIZE, *three[0].shape[1:])
    for part in range(3):
        for head in range(NUM_HEADS):
            for inside in range(head_size):
                row = {
                    0: (part * NUM_HEADS + head) * head_size + inside,
                    1: (head * head_size + inside) * 3 + part,
                    2: (head * 3 + part) * head_size + inside,
                }[int(version)]
                found[row] = three[part][head * head_size + inside]
    return found


def stored(weights: dict[str, torch.Tensor], version: float) -> dict:
    """Return the weights as Megatron nests and names them."""
    transformer = OrderedDict()
    for i in range(NUM_LAYERS):
        layer = f"layers.{i}."
        for kind in ("weight", "bias"):
            three = [weights[f"{layer}{name}.{kind}"] for name in ("query", "key", "value")]
            transformer[f"{layer}input_layernorm.{kind}"] = weights[
                f"{layer}input_layernorm.{kind}"
            ]
            transformer[f"{layer}attention.query_key_value.{kind}"] = interleaved(three, version)
            for ours, theirs in {
                "dense": "attention.dense",
                "post_attention_layernorm": "post_attention_layernorm",
                "h_to_4h": "mlp.dense_h_to_4h",
                "4h_to_h": "mlp.dense_4h_to_h",
            }.items():
                transformer[f"{layer}{theirs}.{kind}"] = weights[f"{layer}{ours}.{kind}"]
    for kind in ("weight", "bias"):
        transformer[f"final_layernorm.{kind}"] = weights[f"final_layernorm.{kind}"]
    embedding = {
        name: OrderedDict(weight=weights[f"embedding.{name}.weight"])
        for name in ("word_embeddings", "position_embeddings", "tokentype_embeddings")
    }
    return {"language_model": {"embedding": embedding, "transformer": transformer}}


def forward(weights: dict[str, torch.Tensor], ids: torch.Tensor, *, gelu) -> torch.Tensor:
    """Return the first position's vector of one text, head by head, [D]."""

    def norm(x, name):
        w, b = weights[f"{name}.weight"], weights[f"{name}.bias"]
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * w + b

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = weights["embedding.word_embeddings.weight"][ids]
    x = x + weights["embedding.position_embeddings.weight"][: len(ids)]
    x = x + weights["embedding.tokentype_embeddings.weight"][0]
    size = SIZE // NUM_HEADS
    for i in range(NUM_LAYERS):
        layer = f"layers.{i}."
        y = norm(x, f"{layer}input_layernorm")
        q, k, v = (linear(y, f"{layer}{name}") for name in ("query", "key", "value"))
        mixed = []
        for head in range(NUM_HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = q[:, part] @ k[:, part].T / math.sqrt(size)
            mixed.append(scores.softmax(-1) @ v[:, part])
        x = x + linear(torch.cat(mixed, -1), f"{layer}dense")
        y = norm(x, f"{layer}post_attention_layernorm")
        x = x + linear(gelu(linear(y, f"{layer}h_to_4h")), f"{layer}4h_to_h")
    return norm(x, "final_layernorm")[0]


def release(tokenizer, *, version: float | None = 1.0, outer: bool = True, **args):
    """Return the towers' weights, and what the release would save of them."""
    towers = [megatron(len(tokenizer), seed) for seed in (1, 2)]
    names = ("query_model", "context_model")
    model = {n: stored(one, version or 0) for n, one in zip(names, towers, strict=True)}
    state = {
        "args": argparse.Namespace(
            num_layers=NUM_LAYERS,
            hidden_size=SIZE,
            num_attention_heads=NUM_HEADS,
            kv_channels=SIZE // NUM_HEADS,
            layernorm_epsilon=1e-5,
            model_parallel_size=1,
            make_vocab_size_divisible_by=128,
            apply_residual_connection_post_layernorm=False,
            openai_gelu=False,
            bias_gelu_fusion=False,
            params_dtype=torch.float16,
        ),
        "checkpoint_version": version,
        "iteration": 4940,
        "model": {"retriever/biencoder_model": model} if outer else model,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}},
        **random_states(),
        "rng_tracker_states": {"model-parallel-rng": torch.zeros(8, dtype=torch.uint8)},
    }
    vars(state["args"]).update(args)
    if version is None:
        del state["checkpoint_version"]
    return towers, state


def embedded(weights, tokenizer, texts, pairs=None, *, gelu=F.gelu) -> np.ndarray:
    pairs = pairs or [None] * len(texts)
    with torch.no_grad():
        rows = [
            forward(weights, torch.tensor(tokenizer(a, b)["input_ids"]), gelu=gelu)
            for a, b in zip(texts, pairs, strict=True)
        ]
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("version", [0.0, None, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("outer", [True, False], ids=["a whole run", "the retriever alone"])
def test_the_release_gives_the_vectors_of_a_forward_pass_by_hand(
    tokenizer, tiny_bert, tmp_path, version, outer
) -> None:
    layout = {3.0: 2.0}.get(version, version)
    towers, state = release(tokenizer, version=layout, outer=outer)
    if version is not None:
        state["checkpoint_version"] = version
    torch.save(state, tmp_path / "model_optim_rng.pt")
    import_retriever(
        tmp_path / "model_optim_rng.pt", tmp_path / "out",
        kind="art-release", tokenizer=str(tiny_bert),
    )  # fmt: skip
    made = load_retriever(tmp_path / "out")
    assert made.question_tower.backbone.config.vocab_size == len(tokenizer)
    assert made.question_tower.backbone.config.layer_norm_eps == 1e-5
    assert made.settings.temperature == pytest.approx(math.sqrt(SIZE))
    expected = embedded(towers[0], tokenizer, TEXTS)
    assert np.abs(made.embed_questions(TEXTS) - expected).max() < 1e-5
    titles = ["title of music"] * 3
    passages = made.embed_tokens("passage", made.passage_template(titles, TEXTS))
    expected = embedded(towers[1], tokenizer, titles, TEXTS)
    assert np.abs(passages - expected).max() < 1e-5


def test_the_other_gelu_is_taken_where_the_checkpoint_says_so(
    tokenizer, tiny_bert, tmp_path
) -> None:
    towers, state = release(tokenizer, openai_gelu=True)
    torch.save(state, tmp_path / "model.pt")
    import_retriever(
        tmp_path / "model.pt", tmp_path / "out", kind="art-release", tokenizer=str(tiny_bert)
    )
    made = load_retriever(tmp_path / "out")

    def tanh(x):
        return F.gelu(x, approximate="tanh")

    expected = embedded(towers[0], tokenizer, TEXTS, gelu=tanh)
    assert np.abs(made.embed_questions(TEXTS) - expected).max() < 1e-5
    assert np.abs(embedded(towers[0], tokenizer, TEXTS) - expected).max() > 1e-4


def test_half_precision_weights_are_widened(tokenizer, tiny_bert, tmp_path) -> None:
    towers, state = release(tokenizer)

    def halved(one):
        if isinstance(one, dict):
            return {name: halved(value) for name, value in one.items()}
        return one.half()

    state["model"] = halved(state["model"])
    torch.save(state, tmp_path / "model.pt")
    import_retriever(
        tmp_path / "model.pt", tmp_path / "out", kind="art-release", tokenizer=str(tiny_bert)
    )
    made = load_retriever(tmp_path / "out")
    rounded = {name: one.half().float() for name, one in towers[0].items()}
    expected = embedded(rounded, tokenizer, TEXTS)
    assert np.abs(made.embed_questions(TEXTS) - expected).max() < 1e-5


@pytest.mark.parametrize(
    ("args", "change", "message"),
    [
        ({"model_parallel_size": 2}, None, "its model_parallel_size is 2"),
        ({"num_layers": 4}, None, "its num_layers is 4"),
        ({"apply_residual_connection_post_layernorm": True}, None, "post_layernorm is True"),
        ({"kv_channels": 5}, None, "4 attention heads of 5 numbers"),
        ({"make_vocab_size_divisible_by": 100}, None, "padded to a multiple of 100"),
        ({"layernorm_epsilon": 2.0}, None, "its layernorm_epsilon is 2"),
        ({}, lambda s: s.update(checkpoint_version=7.0), "checkpoint_version 7.0 is not known"),
        ({}, lambda s: s.update(args=None), r"--num-heads"),
        (
            {},
            lambda s: s["model"]["retriever/biencoder_model"].pop("context_model"),
            "there is no context_model",
        ),
        (
            {},
            lambda s: s["model"]["retriever/biencoder_model"]["query_model"].update(ict_head={}),
            "no query_model with a language_model alone",
        ),
        ({}, lambda s: s.update(model=argparse.Namespace()), "no checkpoint of the ART release"),
    ],
)
def test_what_is_no_release_or_another_model_is_refused(
    tokenizer, tiny_bert, tmp_path, args, change, message
) -> None:
    _, state = release(tokenizer, **args)
    if change:
        change(state)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(ArtError, match=message) as caught:
        import_retriever(
            tmp_path / "model.pt", tmp_path / "out", kind="art-release", tokenizer=str(tiny_bert)
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
