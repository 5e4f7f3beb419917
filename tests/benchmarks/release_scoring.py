"""How the original release scores, re-created: one question at a time, in padded slices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from art.teacher.kinds.question_likelihood import QuestionLikelihood

SLICE, MULTIPLE = 16, 8  # of the release

Ids = list[list[int]]


class Pairs(NamedTuple):
    contexts: Ids
    targets: Ids
    top_k: int


def padded(sequences: Ids) -> tuple[torch.Tensor, torch.Tensor]:
    width = -(-max(map(len, sequences)) // MULTIPLE) * MULTIPLE
    ids = torch.zeros(len(sequences), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return ids, mask


def slice_scores(teacher: QuestionLikelihood, contexts: Ids, targets: Ids) -> torch.Tensor:
    """Score one slice over the whole vocabulary in float32, at every position read."""
    device = teacher.device
    if teacher.family == "causal":
        whole = [context + target for context, target in zip(contexts, targets, strict=True)]
        ids, mask = padded(whole)
        logits = teacher.model(
            input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
        ).logits[:, :-1]
        labels, counted = ids[:, 1:], mask[:, 1:].clone()
        for row, context in enumerate(contexts):
            counted[row, : len(context) - 1] = 0
    else:
        ids, mask = padded(contexts)
        labels, counted = padded(targets)
        start = torch.full((len(targets), 1), teacher.model.config.decoder_start_token_id)
        logits = teacher.model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            decoder_input_ids=torch.cat([start, labels[:, :-1]], dim=1).to(device),
            use_cache=False,
        ).logits
    counted = counted.to(device)
    every = logits.float().log_softmax(dim=-1)
    tokens = every.gather(2, labels.to(device)[..., None])[..., 0]
    return (tokens * counted).sum(dim=1) / counted.sum(dim=1)


def in_slices(
    teacher: QuestionLikelihood, pairs: Pairs, order: list[list[int]]
) -> NDArray[np.float32]:
    scores = np.empty(len(pairs.contexts), dtype=np.float32)
    with torch.inference_mode():
        for some in order:
            found = slice_scores(
                teacher, [pairs.contexts[i] for i in some], [pairs.targets[i] for i in some]
            )
            scores[some] = found.cpu().numpy()
    return scores


def release(teacher: QuestionLikelihood, pairs: Pairs) -> NDArray[np.float32]:
    order = [
        list(range(start, min(start + SLICE, question + pairs.top_k)))
        for question in range(0, len(pairs.contexts), pairs.top_k)
        for start in range(question, question + pairs.top_k, SLICE)
    ]
    return in_slices(teacher, pairs, order)


def release_sorted(teacher: QuestionLikelihood, pairs: Pairs) -> NDArray[np.float32]:
    lengths = [len(a) + len(b) for a, b in zip(pairs.contexts, pairs.targets, strict=True)]
    by_length = np.argsort(lengths, kind="stable")[::-1].tolist()
    order = [by_length[start : start + SLICE] for start in range(0, len(by_length), SLICE)]
    return in_slices(teacher, pairs, order)
