"""What work costs: floating-point operations and bytes, as pure functions of sizes.

A multiplication and an addition count as two operations. Embedding look-ups, normalisation,
softmax and activation functions are left out, as in torch's own counter, which the tests hold this
against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from art.teacher.costs import Stack, TeacherShape

_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Bytes per token, hidden unit and layer that wait for the backward pass, without the attention
# matrix, which fused attention does not keep: 34 in 16 bits, of which 2 are dropout masks
# (Korthikanti et al. 2022, "Reducing activation recomputation", section 4.1).
_ACTIVATION_BYTES = {"float32": 66, "bfloat16": 34}


@dataclass(frozen=True)
class TowerShape:
    """A tower of the retriever.

    Attributes:
        stack: its layers.
        num_layers: how many.
        hidden_size: of a token's vector.
        embedding_size: D.
        head_parameters: of the linear layer after pooling, 0 without.
        num_parameters: all of them, look-up tables included.
    """

    stack: Stack
    num_layers: int
    hidden_size: int
    embedding_size: int
    head_parameters: int
    num_parameters: int

    def flops(self, tokens: float) -> float:
        """Return the operations of the vector of one text of L tokens."""
        return self.stack.flops(tokens) + 2 * self.head_parameters

    def learning_share(self, train_layers: int | None) -> float:
        """Return which share of the layers learn where so many do; all of them where None."""
        if train_layers is None or not self.num_layers:
            return 1.0
        return min(train_layers / self.num_layers, 1.0)

    def num_learning(self, train_layers: int | None) -> int:
        """Return how many parameters then learn; of layers, their matrices are counted."""
        if train_layers is None:
            return self.num_parameters
        layers = self.learning_share(train_layers) * self.stack.matrix_parameters
        return round(layers) + self.head_parameters


def training_flops(forward: float, *, share: float = 1.0, recomputed: bool = False) -> float:
    """Return the operations of a forward and backward pass.

    Args:
        forward: operations of the forward pass.
        share: of the layers that learn, counted from the last; the others have no backward pass.
            0 for a frozen tower.
        recomputed: activations are computed again in the backward pass.
    """
    # Each product has two factors, and the gradient of either costs as much as the product.
    return forward * (1 + share * (2 + recomputed))


def search_flops(num_questions: int, num_passages: int, embedding_size: int) -> float:
    """Return the operations of all inner products of a search."""
    return 2.0 * num_questions * num_passages * embedding_size


def expected_longest(lengths: Sequence[int], count: int) -> float:
    """Return how long the longest of some texts will be, on average.

    Args:
        lengths: tokens of a sample of the texts.
        count: texts drawn from the same source; a padded batch of them costs `count` × this.
    """
    ordered = np.sort(np.asarray(lengths, dtype=np.float64))
    # P(longest ≤ i-th length) = (i / n)^count, so each length is the longest with the difference.
    chances = np.diff((np.arange(len(ordered) + 1) / len(ordered)) ** count)
    return float((ordered * chances).sum())


def index_bytes(num_passages: int, embedding_size: int, dtype: str) -> int:
    """Return the bytes of an index's vectors."""
    return num_passages * embedding_size * _ITEM_BYTES[dtype]


def token_bytes(num_passages: int, tokens_per_passage: float, vocab_size: int) -> int:
    """Return the bytes of a corpus's token ids and their borders."""
    item = 2 if vocab_size <= 1 << 16 else 4
    return int(num_passages * tokens_per_passage * item) + 8 * (num_passages + 1)


def score_log_bytes(num_pairs: int) -> int:
    """Return the bytes of so many scores on disk, without the 12 that each save seals them with."""
    return 12 * num_pairs + 48


def rankings_bytes(num_questions: int) -> int:
    """Return about how many bytes it takes to keep what so many evaluated questions found.

    Five passages each of at most 400 characters, with ids, titles and metrics.
    """
    return 4096 * num_questions


def checkpoint_bytes(num_parameters: int, num_learning: int) -> int:
    """Return the bytes of a checkpoint: float32 weights and Adam's two moments."""
    return 4 * num_parameters + 8 * num_learning


def student_memory(num_parameters: int, num_learning: int) -> int:
    """Return the bytes of the retriever in training: weights, gradients and Adam's moments."""
    return 4 * num_parameters + 12 * num_learning


def activation_memory(
    tower: TowerShape,
    num_tokens: float,
    dtype: str,
    *,
    share: float = 1.0,
    recomputed: bool = False,
) -> float:
    """Return about how many bytes wait for the backward pass of so many padded tokens.

    Args:
        tower: which reads them.
        num_tokens: padding included.
        dtype: what the tower computes in.
        share: see `training_flops`.
        recomputed: activations are computed again in the backward pass.

    Source: Korthikanti et al. 2022, section 4.1 (a guide value: models differ by some tens of
    per cent, and attention that is not fused keeps its matrix too).
    """
    num_layers = share * tower.num_layers  # only those that learn keep anything
    all_of_it = num_tokens * tower.hidden_size * num_layers * _ACTIVATION_BYTES[dtype]
    if not recomputed or not num_layers:
        return all_of_it
    # Each layer's input, and one layer's activations at a time.
    inputs = num_tokens * tower.hidden_size * num_layers * _ITEM_BYTES[dtype]
    return inputs + all_of_it / num_layers


def teacher_memory(
    shape: TeacherShape,
    dtype: str,
    *,
    batch_tokens: int,
    first: float,
    second: float,
    weight_bytes: int | None = None,
) -> float:
    """Return the bytes of the teacher's weights and of the logits of one batch.

    Args:
        shape: of the model.
        dtype: what it computes in.
        batch_tokens: padded tokens of a batch.
        first: tokens of a pair's first part, such as a prompt.
        second: tokens of its second part, such as a question.
        weight_bytes: of weights in few bits; None for all of them in `dtype`.
    """
    logits = batch_tokens / (first + second) * shape.num_logits(second)
    if weight_bytes is None:
        weight_bytes = _ITEM_BYTES[dtype] * shape.num_parameters
    return weight_bytes + _ITEM_BYTES[dtype] * logits
