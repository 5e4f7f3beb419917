"""Counted work: the formulae against torch's counter, real files and a real run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from tiny_teachers import make_reranker
from torch.utils.flop_counter import FlopCounterMode

from art.data.formats import Passage
from art.data.pairs import Pair
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.planning import costs
from art.planning.shapes import (
    published_tower,
    retriever_shape,
    tower_shape,
)
from art.retriever.embedding import embed_passages
from art.retriever.loading import create_retriever
from art.teacher.kinds.question_likelihood import QuestionLikelihood
from art.teacher.registry import load_teacher


def counted(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def eager(retriever):
    """Attention as plain matrix products, which the counter sees."""
    for tower in (retriever.question_tower, retriever.passage_tower):
        tower.backbone.set_attn_implementation("eager")
    return retriever


@pytest.mark.parametrize("model", ["tiny_bert", "tiny_llama", "tiny_t5"])
@pytest.mark.parametrize("projection_size", [None, 8])
def test_a_towers_operations_are_those_counted(model, projection_size, request) -> None:
    source = str(request.getfixturevalue(model))
    retriever = eager(create_retriever(source, projection_size=projection_size, passage_length=64))
    tower, shape = retriever.passage_tower, retriever_shape(retriever)
    ids, mask = torch.full((3, 17), 7), torch.ones(3, 17, dtype=torch.bool)
    with torch.no_grad():
        assert counted(lambda: tower(ids, mask)) == 3 * shape.flops(17)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_learning_costs_three_forward_passes_or_four(checkpointing, tiny_bert) -> None:
    made = create_retriever(
        str(tiny_bert), activation_checkpointing=checkpointing, passage_length=64
    )
    tower = eager(made).passage_tower.train()
    ids, mask = torch.full((3, 17), 7), torch.ones(3, 17, dtype=torch.bool)
    forward = 3 * tower_shape(tower).flops(17)
    expected = costs.training_flops(forward, recomputed=checkpointing)
    assert counted(lambda: tower(ids, mask).sum().backward()) == expected


def test_a_frozen_tower_costs_its_forward_pass() -> None:
    assert costs.training_flops(5.0, share=0.0) == 5.0


def test_upper_layers_alone_cost_their_share_of_the_backward_pass(tiny_bert) -> None:
    made = create_retriever(str(tiny_bert), train_layers=1, passage_length=64)
    tower = eager(made).passage_tower.train()
    ids, mask = torch.full((3, 17), 7), torch.ones(3, 17, dtype=torch.bool)
    expected = costs.training_flops(3 * tower_shape(tower).flops(17), share=0.5)
    # Less the gradient of the inputs of the lowest of them, which nothing asks for.
    assert 0.85 < counted(lambda: tower(ids, mask).sum().backward()) / expected <= 1.0
    shape, learning = (
        tower_shape(tower),
        sum(p.numel() for p in tower.parameters() if p.requires_grad),
    )
    assert shape.num_learning(1) == pytest.approx(learning, rel=0.1)
    assert (shape.num_learning(None), shape.learning_share(None)) == (shape.num_parameters, 1.0)


@pytest.mark.parametrize("model", ["tiny_t5", "tiny_llama"])
def test_a_pairs_operations_are_those_counted(model, request) -> None:
    teacher = load_teacher(
        str(request.getfixturevalue(model)), dtype="float32", attention="eager", device="cpu"
    )
    contexts = [[5 + i] * 23 for i in range(4)]  # distinct: shared ones are read once
    targets = [[6] * 9] * 4
    expected = 4 * teacher.shape().flops(23, 9)
    assert counted(lambda: teacher.log_likelihoods(contexts, targets)) == expected


@pytest.mark.parametrize(("model", "tolerance"), [("tiny_t5", 0.0), ("tiny_llama", 0.1)])
def test_a_passage_that_is_read_already_saves_about_its_operations(
    model, tolerance, request
) -> None:
    teacher = load_teacher(
        str(request.getfixturevalue(model)), dtype="float32", attention="eager", device="cpu"
    )
    teacher.log_likelihoods([[5] * 23], [[6] * 9])  # finds out whether contexts can be shared
    assert teacher.reads_passages_apart
    shape = teacher.shape()
    expected = shape.flops(23, 9) + 3 * shape.flops_again(23, 9)
    found = counted(
        lambda: teacher.log_likelihoods([[5] * 23] * 4, [[6 + i] * 9 for i in range(4)])
    )
    assert found == pytest.approx(expected, rel=tolerance) and found < 4 * shape.flops(23, 9)


@pytest.mark.parametrize("kind", ["bert-1", "roberta-2", "llama-2"])
def test_a_cross_encoders_operations_are_those_counted(
    kind, tiny_bert, tiny_llama, tmp_path
) -> None:
    architecture, num_labels = kind.split("-")
    source = tiny_llama if architecture == "llama" else tiny_bert
    folder = make_reranker(source, tmp_path / kind, architecture, int(num_labels))
    reranker = load_teacher(
        str(folder),
        kind="cross-encoder",
        dtype="float32",
        attention="eager",
        device="cpu",
        max_length=64,
    )
    pairs = [Pair([5 + i] * 7, [6] * 23) for i in range(4)]
    shape = reranker.shape()
    assert counted(lambda: reranker.score_pairs(pairs)) == 4 * shape.flops(7, 23)
    assert shape.num_parameters == sum(one.numel() for one in reranker.model.parameters())


@pytest.mark.parametrize("model", ["tiny_t5", "tiny_llama"])
def test_an_answers_operations_are_those_counted(model, request) -> None:
    folder = str(request.getfixturevalue(model))
    answers = {f"who {word} it ?": word for word in ("built", "found", "wrote", "keeps")}
    settings = {"dtype": "float32", "attention": "eager", "device": "cpu"}
    teacher = load_teacher(
        folder, kind="answer-likelihood", answers=answers, batch_tokens=1, **settings
    )
    (passage,) = teacher.template([""], ["the winter garden"])
    pairs = [teacher.template.pair(teacher.template.asked(text), passage) for text in answers]
    shape = teacher.shape()
    expected = sum(shape.flops(len(pair.first), len(pair.second)) for pair in pairs)
    assert counted(lambda: teacher.score_pairs(pairs)) == expected


def test_a_table_of_word_vectors_multiplies_nothing(tmp_path) -> None:
    from art.retriever.encoders import Tower
    from art.retriever.static import StaticEmbeddingConfig, StaticEmbeddingModel

    table = StaticEmbeddingModel(StaticEmbeddingConfig(vocab_size=11, hidden_size=4))
    shape = tower_shape(Tower(table, pooling="mean", normalize=True, dtype="float32"))
    assert (shape.flops(50), shape.embedding_size, shape.num_parameters) == (0, 4, 44)


def test_published_shapes_have_the_published_sizes() -> None:
    bert = published_tower("bert-base-uncased")
    assert bert.num_parameters == 108_891_648  # 109,482,240 with the pooler of 768 × 769
    assert bert.embedding_size == 768
    half = published_tower("bert-base-uncased", num_layers=6, projection_size=128)
    assert half.stack.matrix_parameters * 2 == bert.stack.matrix_parameters
    assert (half.embedding_size, half.head_parameters) == (128, 768 * 128)
    t0 = QuestionLikelihood.published_shape("bigscience/T0_3B")
    assert t0.num_parameters == pytest.approx(2.85e9, rel=0.01)
    assert t0.head_parameters == 2048 * 32128
    assert (
        published_tower("nobody/model")
        is QuestionLikelihood.published_shape("nobody/model")
        is None
    )


def test_the_longest_of_a_batch_is_the_mean_over_all_batches() -> None:
    lengths = [3, 9, 4, 4]
    batches = itertools.product(lengths, repeat=3)
    assert costs.expected_longest(lengths, 3) == pytest.approx(np.mean([max(b) for b in batches]))


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_bytes_of_index_and_token_ids_are_those_on_disk(dtype, tiny_bert, corpus, tmp_path) -> None:
    store = PassageStore.build(
        [Passage(*one) for one in corpus], tmp_path / "store", source="test", progress=False
    )
    retriever = create_retriever(str(tiny_bert), passage_length=64)
    tokens = TokenStore.open_or_build(store, retriever.passage_template, cache=tmp_path)
    folder = tmp_path / "index"
    embed_passages(retriever, tokens, folder, store=store, shard_rows=25, dtype=dtype)
    on_disk = sum(path.stat().st_size for path in folder.glob("*.bin"))
    assert on_disk == costs.index_bytes(60, retriever.embedding_size, dtype)
    on_disk = sum(path.stat().st_size for path in tokens.folder.glob("*.bin"))
    mean, vocab = tokens.lengths().mean(), retriever.passage_template.vocab_size
    assert on_disk == costs.token_bytes(60, mean, vocab)


def test_recomputed_activations_take_less_memory_and_16_bits_take_half() -> None:
    bert = published_tower("bert-base-uncased")
    whole = costs.activation_memory(bert, 1000, "float32")
    assert whole == 1000 * 768 * 12 * 66
    assert costs.activation_memory(bert, 1000, "bfloat16") == pytest.approx(whole * 34 / 66)
    assert costs.activation_memory(bert, 1000, "float32", recomputed=True) < whole / 5
    assert costs.activation_memory(bert, 1000, "float32", share=0.25) == whole / 4
    assert costs.activation_memory(bert, 1000, "float32", share=0.0, recomputed=True) == 0
