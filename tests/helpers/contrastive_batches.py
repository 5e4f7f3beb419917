"""Contrastive items, a tiny retriever and the plain loss, in one process or in several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from art import distributed
from art.data.contrastive import ContrastiveItem
from art.retriever.encoders import Retriever
from art.retriever.loading import create_retriever
from art.training.methods.dpr import dpr_step
from art.training.progress import PhaseTimer
from art.training.schedule import MicroBatch
from art.training.statistics import StepStatistics

SEED, STEP = 3, 11

# Keys of each item's passages, the positive first, and of further positives. 10 is the positive of
# two questions, a negative of a third, and stands twice among one's passages; 30 has 31 for a
# negative although it is a positive; 99 is a negative of two questions.
KEYS: list[tuple[list[int], list[int]]] = [
    ([10, 99], []),
    ([20], []),
    ([30, 31, 10], [31]),
    ([10, 40, 10], []),
    ([50, 99], []),
    ([60, 61, 62, 63], []),
    ([70], [2**63 + 9]),
    ([80, 2**63 + 9], []),
]


def make_items() -> list[ContrastiveItem]:
    """Eight questions; no two token sequences are equal, and the second half is longer."""
    rng = np.random.default_rng(0)
    items = []
    for number, (keys, others) in enumerate(KEYS):
        longest = 9 if number < 4 else 40
        question, *passages = (
            rng.integers(5, 100, size=rng.integers(longest // 2, longest))
            for _ in range(1 + len(keys))
        )
        of_passages = np.array(keys, dtype=np.uint64)
        positives = np.array([keys[0], *others], dtype=np.uint64)
        items.append(ContrastiveItem(question, passages, of_passages, positives))
    return items


ITEMS = make_items()


def make_retriever(bert: Path, *, dropout: float = 0.2, **settings) -> Retriever:
    return create_retriever(
        str(bert), passage_length=64, question_length=64, dropout=dropout, **settings
    ).double()


def in_micro_batches(size: int, count: int = len(ITEMS)) -> list[MicroBatch]:
    return [
        MicroBatch(number, tuple(range(start, start + size)))
        for number, start in enumerate(range(0, count, size))
    ]


def take_step(
    retriever: Retriever,
    micro_batches: Sequence[MicroBatch],
    model: nn.Module | None = None,
    *,
    step: int = STEP,
    chunk_tokens: int | None = None,
) -> tuple[StepStatistics, dict[str, Tensor]]:
    """The statistics and gradients of one step."""
    retriever.zero_grad(set_to_none=True)
    statistics = dpr_step(
        micro_batches,
        lambda positions: [ITEMS[i] for i in positions],
        model=model or retriever,
        retriever=retriever,
        seed=SEED,
        step=step,
        timer=PhaseTimer(),
        chunk_tokens=chunk_tokens,
    )
    return statistics, gradients(retriever)


def gradients(retriever: Retriever) -> dict[str, Tensor]:
    named = retriever.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def plain_loss(
    items: Sequence[ContrastiveItem], questions: list[Tensor], passages: list[Tensor], tau: float
) -> tuple[Tensor, list[int]]:
    """The mean loss of all questions and each one's rank, a score at a time."""
    keys = [int(key) for item in items for key in item.keys]
    losses, ranks, target = [], [], 0
    for item, question in zip(items, questions, strict=True):
        positives = {int(key) for key in item.positive_keys}
        scores = {
            column: question @ passage / tau
            for column, passage in enumerate(passages)
            if column == target or keys[column] not in positives
        }
        losses.append(torch.stack(list(scores.values())).logsumexp(0) - scores[target])
        ranks.append(sorted(scores, key=lambda c: (-scores[c].item(), c)).index(target))
        target += len(item.passages)
    return torch.stack(losses).mean(), ranks


def two_steps(retriever: Retriever, size: int, chunk_tokens: int | None) -> dict[str, Tensor]:
    """The gradient of a second step, after an update with that of the first."""
    model: nn.Module = retriever
    if distributed.world_size() > 1:
        model = nn.parallel.DistributedDataParallel(retriever)
    every = in_micro_batches(size)
    share = len(every) // distributed.world_size()
    own = every[distributed.rank() * share : (distributed.rank() + 1) * share]
    take_step(retriever, own, model, step=0, chunk_tokens=chunk_tokens)
    torch.optim.SGD(retriever.parameters(), lr=0.1).step()
    return take_step(retriever, own, model, step=1, chunk_tokens=chunk_tokens)[1]


# Micro-batch size and chunk_tokens. Of the last two micro-batches, one is a single chunk, the other
# several: with two processes one alone would need no second encoding.
CASES = {"plain": (4, None), "micro_batches": (2, None), "chunks": (2, 60), "uneven": (4, 100)}


def own_gradients(bert: Path) -> dict[str, np.ndarray]:
    """The gradients of all cases, of which each process takes its share, and of gathered rows."""
    found = {
        f"{case} {name}": gradient.numpy()
        for case, settings in CASES.items()
        for name, gradient in two_steps(make_retriever(bert), *settings).items()
    }
    rows = torch.full((distributed.rank() + 1, 2), float(distributed.rank()), requires_grad=True)
    gathered = distributed.gather_rows(rows)
    gathered.sum().backward()
    return found | {"gathered": gathered.detach().numpy(), "own gradient": rows.grad.numpy()}
