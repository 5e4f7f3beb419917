"""Nothing mixes devices: the parts that run on a GPU, on a device that raises where a GPU would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tiny_step
import torch
from accelerate import Accelerator
from contrastive_batches import ITEMS, in_micro_batches, make_retriever, take_step
from killed_run import kill
from pretend_device import PRETEND, MixedDevicesError, PretendTensor, pretending
from tiny_step import QUESTIONS, build_step
from tiny_teachers import all_pairs, make_reranker
from torch import Tensor
from transformers import PreTrainedModel
from whole_run import configure, tiny_settings, weights

from art import distributed
from art.data.batching import BatchLimits
from art.evaluation.pooled import Pool, evaluate_pool
from art.retriever import padding, searcher
from art.retriever.blocks import Blocks, RowBlock
from art.retriever.loading import create_retriever
from art.retriever.search import search
from art.teacher.registry import load_teacher
from art.training.loop import train
from art.training.losses import LOSSES
from art.training.schedule import MicroBatch

SEQUENCES = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14, 15], [16, 17, 18, 19]]


def load_here(
    cls: type[PreTrainedModel], *words: Any, device_map: Any = None, **settings: Any
) -> Any:
    """Load weights on the CPU and move them then: what is none cannot be read into."""
    loaded = FROM_PRETRAINED(cls, *words, **settings)
    if device_map is not None:
        loaded[0].to(device_map[""])  # beside a report
    return loaded


FROM_PRETRAINED = PreTrainedModel.from_pretrained.__func__


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    # Rows are put together by their lengths, as on a GPU.
    monkeypatch.setitem(padding._TRAINING, PRETEND.type, BatchLimits(60))
    with pretending() as device:
        yield device


def assert_same(there: dict[str, Tensor], here: dict[str, Tensor]) -> None:
    assert there.keys() == here.keys()
    for name, expected in here.items():
        assert isinstance(there[name], PretendTensor)
        torch.testing.assert_close(there[name].cpu(), expected, rtol=1e-6, atol=1e-9)


MIXED: dict[str, Callable[[Tensor, Tensor], object]] = {
    "a sum": lambda there, here: there + here,
    "a product of matrices": lambda there, here: here @ there,
    "written in place": lambda there, here: here.add_(there),
    "one number, written in place": lambda there, here: here[0, 0].add_(there[0, 0]),
    "put together": lambda there, here: torch.cat([there, here]),
    "an index on the device": lambda there, here: here[there[0].long()],
    "values from the CPU": lambda there, here: there.__setitem__(here > 0, here[here > 0]),
    "a lookup": lambda there, here: torch.nn.functional.embedding(here.long(), there),
    "a loss": lambda there, here: torch.nn.functional.cross_entropy(there, here[0].long()),
}


@pytest.mark.parametrize("name", MIXED)
def test_operations_that_mix_devices_raise(device, name) -> None:
    here = torch.eye(2)
    with pytest.raises(MixedDevicesError):
        MIXED[name](here.to(device), here)
    MIXED[name](here.to(device), here.to(device))


def test_what_a_gpu_takes_from_the_cpu_is_taken(device) -> None:
    here = torch.eye(2)
    there = here.to(device)
    there *= torch.tensor(3.0)
    there[torch.tensor([0])] += torch.ones(2, device=device)
    there[1:] = torch.full((1, 2), 5.0)  # a slice is a copy
    there = there[np.array([1, 0])]
    assert there.cpu().tolist() == [[5.0, 5.0], [4.0, 1.0]]
    with pytest.raises(RuntimeError, match="numpy"):
        there.numpy()


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("one_length", [False, True])
def test_embedding(pooling, one_length, tiny_bert, device) -> None:
    retriever = create_retriever(
        str(tiny_bert), passage_length=64, pooling=pooling, normalize=True, projection_size=8
    )
    retriever.passage_tower.one_length = one_length
    here, stands_for = retriever.embed_tokens("passage", SEQUENCES), retriever.fingerprint()
    retriever.to(device)
    np.testing.assert_allclose(retriever.embed_tokens("passage", SEQUENCES), here, atol=1e-6)
    assert retriever.fingerprint() == stands_for


@pytest.mark.parametrize(("loss", "chunk_tokens"), [("kl", None), ("margin-mse", 70)])
def test_a_step_on_questions(
    loss, chunk_tokens, tiny_bert, tiny_t5, corpus, tmp_path, device, monkeypatch
) -> None:
    tiny = build_step(tiny_bert, tiny_t5, corpus, tmp_path)
    monkeypatch.setattr(tiny_step, "soft_label_divergence", LOSSES[loss].function)
    # Whose scores the steps take is not the question here: the teacher gives them once.
    tiny.teacher.score(QUESTIONS, tiny.candidates([QUESTIONS]))
    micro_batches = [MicroBatch(0, (0, 1)), MicroBatch(1, (2, 3))]
    expected_loss, here = tiny_step.gradients(tiny, micro_batches, chunk_tokens=chunk_tokens)
    tiny.retriever.to(device)
    found_loss, there = tiny_step.gradients(tiny, micro_batches, chunk_tokens=chunk_tokens)
    assert found_loss == pytest.approx(expected_loss, rel=1e-9)
    assert_same(there, here)


@pytest.mark.parametrize("chunk_tokens", [None, 60])
def test_a_step_on_labels(chunk_tokens, tiny_bert, device) -> None:
    retriever = make_retriever(tiny_bert, dropout=0.0)
    statistics, here = take_step(retriever, in_micro_batches(4), chunk_tokens=chunk_tokens)
    retriever.to(device)
    found, there = take_step(retriever, in_micro_batches(4), chunk_tokens=chunk_tokens)
    assert found.sums == pytest.approx(statistics.sums)
    assert_same(there, here)


def test_a_pool(tiny_bert, device) -> None:
    retriever = create_retriever(str(tiny_bert), passage_length=64)
    passages = [ids for item in ITEMS for ids in item.passages]
    keys = np.concatenate([item.keys for item in ITEMS])
    firsts = np.cumsum([0, *(len(item.passages) for item in ITEMS[:-1])])
    pool = Pool.of(
        [item.question for item in ITEMS],
        lambda wanted: [passages[i] for i in wanted],
        keys=keys,
        targets=firsts,
        positives=[item.positive_keys for item in ITEMS],
    )
    here = evaluate_pool(retriever, pool)
    assert evaluate_pool(retriever.to(device), pool) == pytest.approx(here)


def test_teachers(tiny_t5, tiny_llama, tiny_bert, tmp_path, device) -> None:
    crossed = make_reranker(tiny_bert, tmp_path / "reranker", "bert", 2)
    for folder, kind, settings in (
        (tiny_t5, "question-likelihood", {}),
        (tiny_llama, "question-likelihood", {}),
        (tiny_llama, "question-likelihood", {"share": False}),
        (crossed, "cross-encoder", {}),
    ):
        length = 64 if kind == "cross-encoder" else 512
        here = load_teacher(
            str(folder), kind=kind, dtype="float32", max_length=length, device="cpu"
        )
        pairs = all_pairs(here)
        expected = here.score_pairs(pairs)
        there = type(here)(
            here.model.to(device), here.template, fingerprint=here.fingerprint, **settings
        )
        assert there.reads_passages_apart == (kind != "cross-encoder" and not settings)
        np.testing.assert_allclose(there.score_pairs(pairs), expected, rtol=1e-4, err_msg=kind)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("alike", [False, True])
def test_search(resident, alike, device) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(300, 16)).astype(np.float16)
    if alike:  # nothing is settled by float32 products: all rows are compared
        vectors[:] = vectors[0]
    questions = rng.normal(size=(5, 16)).astype(np.float32)
    norm = float(np.linalg.norm(vectors.astype(np.float64), axis=1).max())
    blocks = [RowBlock(first, torch.from_numpy(vectors[first:][:100])) for first in (0, 100, 200)]
    here = search(Blocks(blocks, torch.device("cpu"), 16, norm), questions, 7)
    if resident:
        blocks = [RowBlock(one.first_row, one.vectors.to(device)) for one in blocks]
    there = search(Blocks(blocks, device, 16, norm), questions, 7)
    for found, expected in zip(there, here, strict=True):
        np.testing.assert_array_equal(found, expected)  # to the bit


def test_a_whole_run_that_was_killed(
    tiny_bert, tiny_t5, corpus, tmp_path, device, monkeypatch
) -> None:
    """Refreshes, searches, optimiser, evaluation; what is saved there is read and goes on there."""
    (data := tmp_path / "data").mkdir()
    settings = tiny_settings(data, bert=tiny_bert, t5=tiny_t5, corpus=corpus)
    settings["training"] |= {"max_steps": 4, "evaluate_steps": 2, "save_steps": 2}
    settings["retriever"]["dropout"] = 0.0
    train(configure(settings, tmp_path / "here"))
    monkeypatch.setattr(distributed, "start", lambda cpu: device)
    monkeypatch.setattr(Accelerator, "prepare_model", lambda _, model: model)
    monkeypatch.setattr(searcher, "_free", lambda device: 1 << 40)
    monkeypatch.setattr(PreTrainedModel, "from_pretrained", classmethod(load_here))
    there = configure(settings, tmp_path / "there")
    kill(there, after=3)
    train(there)
    here, found = weights(tmp_path / "here", "last"), weights(tmp_path / "there", "last")
    assert here.keys() == found.keys()
    for name, expected in here.items():
        np.testing.assert_allclose(found[name], expected, atol=1e-3, err_msg=name)
