"""Teachers that are a frozen transformers model, which scores padded batches of pairs.

Kinds are listed and their settings checked without loading torch, so it is imported where a model
is there already.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from art.data.batching import token_batches
from art.data.pairs import Ids, Pair
from art.data.together import FLOAT32_TOLERANCE, padding_changes
from art.errors import ArtError, notify
from art.files import fingerprint
from art.teacher.base import PairEncoder, Teacher

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Pairs = NDArray[np.int64]  # indices

# Padded tokens of a batch. A GPU needs many to be busy; on a CPU a larger batch falls out of the
# caches (SmolLM2-135M in bfloat16, pairs a second on one core: 10.7 with 4096, 7.3 with 16384).
_BATCH_TOKENS = {"cpu": 4096}
_BATCH_TOKENS_ELSEWHERE = 16384

# What every model is asked once, and by how much half precision may round what it says.
_TEXT = "The old bridge behind the mill was built of stone, and fell into the river one winter."
_MOST_TOKENS = 24
_HALF_TOLERANCE = 0.1


class TransformerTeacher(Teacher):
    """A frozen transformers model and the template of its inputs.

    Args:
        model: put into evaluation mode, its parameters lose their gradients.
        template: makes inputs for this model's tokenizer.
        fingerprint: stands for everything a score depends on besides the token ids.
        batch_tokens: padded tokens that go through the model at once; None for the device's own.

    Attributes:
        one_length: score only inputs of one length together, because padding would change the
            scores; see `read_one_length`.
    """

    one_length = False

    def __init__(
        self,
        model: PreTrainedModel,
        template: PairEncoder,
        *,
        fingerprint: str,
        batch_tokens: int | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.template = template
        self.fingerprint = fingerprint
        self.device = model.device
        self.batch_tokens = batch_tokens or _BATCH_TOKENS.get(
            self.device.type, _BATCH_TOKENS_ELSEWHERE
        )

    @cached_property
    def attends_in_blocks(self) -> bool:
        """Whether the model gets the same from `attention.blocked_attention`, which is faster."""
        from art.teacher.attention import same_in_blocks

        return same_in_blocks(self.model)

    def read_one_length(self) -> Self:
        """Ask the model for two pairs alone and together; score one length at a time if need be.

        Returns:
            Itself. Its fingerprint is another where padding would change scores: those that
            were computed with padding are of no use.

        Raises:
            ArtError: it scores one pair otherwise each time, or otherwise beside other pairs.
        """
        import torch

        from art import distributed

        kind = self.model.config.model_type
        (ids,) = self.template([""], [_TEXT])
        most = min(_MOST_TOKENS, self.template.longest // 2)  # as far as the model can read them
        short, long = (Pair(ids[:end], ids[:2]) for end in (2, most))
        exact = self.model.dtype in (torch.float32, torch.float64)
        tolerance = FLOAT32_TOLERANCE if exact else _HALF_TOLERANCE
        if padding_changes(self.score_pairs, short, long, name=kind, tolerance=tolerance):
            self.one_length = True
            self.fingerprint = fingerprint(self.fingerprint, "one length at a time")
            if distributed.is_main():
                notify(
                    f"padding changes the scores of {kind}: pairs are scored one length at a time,"
                    " which takes longer"
                )
        return self

    def batches(self, lengths: ArrayLike) -> list[Pairs]:
        """Cut inputs of these lengths, [n], into batches, the longest first.

        If the memory does not suffice, it shows at once.
        """
        padding = 0 if self.one_length else None
        return token_batches(lengths, self.batch_tokens, padding)[::-1]

    def weight_bytes(self) -> int:
        """Return the memory that the weights take."""
        return int(self.model.get_memory_footprint())

    def score_pairs(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the score of each pair, [n] float32; see `Teacher`."""
        import torch

        from art.teacher.attention import in_blocks

        scores = np.empty(len(pairs), dtype=np.float32)
        if not len(pairs):
            return scores
        order = np.empty(len(pairs), dtype=np.int64)
        # Filled as batches end: small tensors that stay behind each of them would keep the
        # allocator from using its memory again. Copied once, so that a GPU never waits for the
        # next batch to be made.
        values = torch.empty(len(pairs), dtype=torch.float32, device=self.device)
        done = 0
        firsts, seconds = zip(*pairs, strict=True)
        # Some quantised weights are unpacked into tensors that inference mode does not allow.
        inference = not getattr(self.model, "is_quantized", False)
        with (
            torch.no_grad(),
            torch.inference_mode(inference),
            in_blocks(self.attends_in_blocks),
            self._enough_memory(),
        ):
            for chosen, part in self._parts(firsts, seconds):
                some = slice(done, done + len(chosen))
                order[some], values[some] = chosen, part
                done += len(chosen)
        scores[order] = values.cpu().numpy()
        return scores

    @abstractmethod
    def _parts(
        self, firsts: Sequence[Ids], seconds: Sequence[Ids]
    ) -> Iterator[tuple[Pairs, Tensor]]:
        """Give the scores of all pairs, the two sides of each being given, a batch at a time.

        Yields:
            Which pairs, [n], and their scores, [n] float32 on the device.
        """

    @contextmanager
    def _enough_memory(self) -> Iterator[None]:
        import torch

        try:
            yield
        except torch.OutOfMemoryError as error:
            raise ArtError(
                f"the memory of {self.device} does not suffice to score {self.batch_tokens} padded "
                "tokens at once",
                hint="lower teacher.batch_tokens",
            ) from error
