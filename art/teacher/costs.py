"""What scoring a pair costs: floating-point operations, as pure functions of a model's sizes.

A multiplication and an addition count as two operations. Embedding look-ups, normalisation,
softmax and activation functions are left out, as in torch's own counter, which the tests hold this
against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Stack:
    """A stack of transformer layers; a table of word vectors has zeros.

    Attributes:
        matrix_parameters: numbers in the matrices that every token is multiplied with.
        attention_size: heads × size of a head, summed over the layers.
    """

    matrix_parameters: int = 0
    attention_size: int = 0

    def flops(self, tokens: float) -> float:
        """Return the operations of one sequence of L tokens that all see each other.

        Causal attention costs the same here: half of what is computed is masked.
        """
        # Queries × keys and probabilities × values: 2 L² operations each per unit.
        return 2 * tokens * self.matrix_parameters + 4 * tokens * tokens * self.attention_size


class TeacherShape(Protocol):
    """The sizes of a teacher, as far as its costs follow from them.

    Both parts of a pair are counted in tokens: `first` of what stands before its border, such as a
    prompt, `second` of what stands behind it, such as a question.
    """

    @property
    def num_parameters(self) -> int:
        """All of them, look-up tables included."""

    def flops(self, first: float, second: float, /) -> float:
        """Return the operations of the score of one pair."""

    def flops_again(self, first: float, second: float, /) -> float:
        """Return the operations of the score of a pair whose passage is read for another one."""

    def num_logits(self, second: float, /) -> float:
        """Return the numbers that the model's head makes for one pair."""


@dataclass(frozen=True)
class LanguageModelShape:
    """A frozen language model.

    Attributes:
        encoder: the encoder's layers; None for a decoder-only model.
        decoder: the decoder's layers, without what the context's tokens are multiplied with.
        cross: of the decoder's layers, what the context's tokens are multiplied with.
        head_parameters: of the matrix that gives the logits.
        vocab_size: V.
        num_parameters: all of them.
        shares_contexts: whether a passage's context is the same for all questions.
    """

    encoder: Stack | None
    decoder: Stack
    cross: Stack
    head_parameters: int
    vocab_size: int
    num_parameters: int
    shares_contexts: bool = True

    def flops(self, context: float, target: float) -> float:
        """Return the operations of the score of one pair.

        Args:
            context: tokens of the prompt with the passage.
            target: tokens of the question.
        """
        if self.encoder is None:
            return self.decoder.flops(context + target) + 2 * target * self.head_parameters
        crossing = (
            2 * context * self.cross.matrix_parameters
            + 4 * context * target * self.cross.attention_size
        )
        own = self.encoder.flops(context) + self.decoder.flops(target)
        return own + crossing + 2 * target * self.head_parameters

    def flops_again(self, context: float, target: float) -> float:
        """Return the operations of the score of a pair whose passage is read for another one."""
        if not self.shares_contexts:
            return self.flops(context, target)
        reader = self.decoder if self.encoder is None else self.encoder
        return self.flops(context, target) - reader.flops(context)

    def num_logits(self, target: float) -> float:
        """Return the logits that are made for one pair, of its target's tokens."""
        return target * self.vocab_size
