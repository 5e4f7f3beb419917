"""Teachers that are a frozen transformers model, which scores padded batches of pairs.

Kinds are listed and their settings checked without loading torch, so it is imported where a model
is there already.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from art.data.pairs import Ids, Pair
from art.errors import ArtError
from art.teacher.base import PairEncoder, Teacher

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Pairs = NDArray[np.int64]  # indices

# Padded tokens of a batch. A GPU needs many to be busy; on a CPU a larger batch falls out of the
# caches (SmolLM2-135M in bfloat16, pairs a second on one core: 10.7 with 4096, 7.3 with 16384).
_BATCH_TOKENS = {"cpu": 4096}
_BATCH_TOKENS_ELSEWHERE = 16384


class TransformerTeacher(Teacher):
    """A frozen transformers model and the template of its inputs.

    Args:
        model: put into evaluation mode, its parameters lose their gradients.
        template: makes inputs for this model's tokenizer.
        fingerprint: stands for everything a score depends on besides the token ids.
        batch_tokens: padded tokens that go through the model at once; None for the device's own.
    """

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
