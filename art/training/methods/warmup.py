"""Pairs cut from the passages themselves, before there is any question.

Sources: Lee et al. 2019 (inverse cloze); Izacard et al. 2022 (crops, Contriever).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from art.data.cloze import Cut, inverse_cloze, random_crops
from art.training.contrastive import cut_pairs, cut_pool
from art.training.methods.base import METHODS, LearnerParts, Method
from art.training.methods.dpr import ContrastiveLearner
from art.training.sources import PASSAGES, Sample, TrainingSet

if TYPE_CHECKING:
    from art.config import Config
    from art.training.run_files import RunFiles


@METHODS.add
@dataclass(frozen=True)
class Warmup(Method):
    """Contrastive steps on pairs cut from passages, with their settings.

    Attributes:
        pairs: how they are cut.
        keep_share: see `cloze.inverse_cloze`.
        chunk_tokens: see `grad_cached`.
    """

    name: ClassVar[str] = "warmup"
    description: ClassVar[str] = (
        "pairs cut from the passages, trained as dpr; an epoch is every passage once, so max_steps "
        "usually ends it"
    )
    needs: ClassVar[tuple[str, ...]] = ("data.passages",)
    trains_on = PASSAGES
    needs_corpus = True
    items_name = "pairs to cut an epoch"

    pairs: Literal["inverse-cloze", "crops"]
    keep_share: float
    chunk_tokens: int | None

    @classmethod
    def from_config(cls, config: Config) -> Warmup:
        """Return the method with its settings."""
        return cls(config.warmup.pairs, config.warmup.keep_share, config.training.chunk_tokens)

    @property
    def passages_per_item(self) -> int:
        """The passage that a pair was cut from."""
        return 1

    @property
    def each(self) -> str:
        """How the pairs are cut."""
        return f"pairs by {self.pairs}"

    def learner(self, parts: LearnerParts, sets: Sequence[TrainingSet]) -> ContrastiveLearner:
        """Return what takes the steps."""
        store, (own, *_) = parts.files.store, sets
        assert store is not None and own.split is not None  # the method's needs
        split, seed = own.split, parts.schedule.seed
        pairs = cut_pairs(store, parts.retriever, cut=self._cut, seed=seed)
        held_out = split.held_out.tolist()
        return ContrastiveLearner(
            parts,
            lambda places, epoch: pairs(split.training(places), epoch),
            chunk_tokens=self.chunk_tokens,
            pool=cut_pool(pairs, held_out) if held_out else None,
        )

    def sample(self, files: RunFiles, *, rng: np.random.Generator, count: int) -> Sample | None:
        """Draw passages, and cut a question from each."""
        found = super().sample(files, rng=rng, count=count)
        if found is None:
            return None
        _, chosen = found
        return [self._cut(one.text, rng)[0] or one.title for one in chosen], chosen

    @property
    def _cut(self) -> Cut:
        if self.pairs == "crops":
            return random_crops
        return partial(inverse_cloze, keep=self.keep_share)
