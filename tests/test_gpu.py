"""What only a GPU can show: that its own kernels give what the CPU gives."""

from __future__ import annotations

import contrastive_batches
import numpy as np
import pytest
import tiny_step
import torch
from contrastive_batches import in_micro_batches, make_retriever
from killed_run import kill
from tiny_step import QUESTIONS, build_step
from torch import Tensor
from whole_run import configure, tiny_settings, weights

from art.retriever import nearest
from art.retriever.blocks import Blocks, RowBlock
from art.retriever.loading import create_retriever
from art.retriever.search import inner_products, search
from art.training.loop import train
from art.training.schedule import MicroBatch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("with_faiss", [True, False])  # where there is one for GPUs
def test_search_gives_the_bits_of_the_cpu(resident, with_faiss, monkeypatch) -> None:
    if not with_faiss:
        monkeypatch.setattr(nearest, "_faiss_for_gpus", lambda: None)
    rng = np.random.default_rng(0)
    vectors = torch.from_numpy(rng.normal(size=(5000, 96)).astype(np.float16))
    vectors[4000:] = vectors[:1000]  # ties
    questions = rng.normal(size=(7, 96)).astype(np.float32)
    exact = inner_products(vectors, torch.from_numpy(questions)[:, None]).numpy()
    rows = np.argsort(-exact, axis=1, kind="stable")[:, :20]
    blocks = [RowBlock(first, vectors[first:][:1500]) for first in range(0, 5000, 1500)]
    if resident:
        blocks = [RowBlock(block.first_row, block.vectors.cuda()) for block in blocks]
    norm = float(vectors.double().norm(dim=1).max())
    held = Blocks(blocks, torch.device("cuda", torch.cuda.current_device()), 96, norm)
    found_scores, found_rows = search(held, questions, 20)
    np.testing.assert_array_equal(found_rows, rows)
    np.testing.assert_array_equal(found_scores, np.take_along_axis(exact, rows, axis=1))


def test_bfloat16_vectors_are_near_those_of_float32_on_the_cpu(tiny_bert) -> None:
    sequences = [np.arange(5, 5 + length) for length in (3, 40, 12, 25)]
    settings = {"passage_length": 64, "pooling": "mean", "normalize": True}
    here = create_retriever(str(tiny_bert), **settings).embed_tokens("passage", sequences)
    there = create_retriever(str(tiny_bert), dtype="bfloat16", **settings).cuda()
    cosines = (there.embed_tokens("passage", sequences) * here).sum(axis=1)
    assert cosines.min() > 0.99


@pytest.mark.parametrize("chunk_tokens", [None, 70])
def test_a_step_has_the_gradient_of_the_cpu(
    chunk_tokens, tiny_bert, tiny_t5, corpus, tmp_path
) -> None:
    tiny = build_step(tiny_bert, tiny_t5, corpus, tmp_path)
    tiny.teacher.score(QUESTIONS, tiny.candidates([QUESTIONS]))  # once for both
    micro_batches = [MicroBatch(0, (0, 1)), MicroBatch(1, (2, 3))]
    _, here = tiny_step.gradients(tiny, micro_batches, chunk_tokens=chunk_tokens)
    tiny.retriever.cuda()
    _, there = tiny_step.gradients(tiny, micro_batches, chunk_tokens=chunk_tokens)
    for name, expected in here.items():
        torch.testing.assert_close(there[name].cpu(), expected, rtol=1e-6, atol=1e-10, msg=name)


def test_what_is_encoded_twice_meets_the_same_dropout(tiny_bert) -> None:
    """A chunk's gradient is that of the vectors that the loss has seen."""
    retriever = make_retriever(tiny_bert, dropout=0.3).cuda()
    seen: list[Tensor] = []
    retriever.register_forward_hook(lambda _, inputs, outputs: seen.append(outputs[1].detach()))
    contrastive_batches.take_step(retriever, in_micro_batches(4))
    (first, second, again_first, again_second) = seen
    torch.testing.assert_close(again_first, first, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(again_second, second, rtol=1e-9, atol=1e-12)


def test_a_run_that_was_killed_ends_near_one_that_was_not(
    tiny_bert, tiny_t5, corpus, tmp_path
) -> None:
    (data := tmp_path / "data").mkdir()
    settings = tiny_settings(data, bert=tiny_bert, t5=tiny_t5, corpus=corpus)
    settings["training"] |= {"cpu": False, "max_steps": 4, "evaluate_steps": 2, "save_steps": 2}
    train(configure(settings, tmp_path / "whole"))
    killed = configure(settings, tmp_path / "killed")
    kill(killed, after=3)
    train(killed)
    whole, found = weights(tmp_path / "whole", "last"), weights(tmp_path / "killed", "last")
    for name, expected in whole.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-3, err_msg=name)
