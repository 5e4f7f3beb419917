"""All that a run is at one step, besides weights and optimiser."""

from __future__ import annotations

from typing import Any, Self

from art.config import Manifest
from art.training.schedule import Action
from art.training.selection import Selection

FORMAT = 4


class EpochPairs(Manifest):
    """Pairs of question and passage that the steps of this epoch asked for, over all processes.

    Attributes:
        asked: how many.
        known: of these, those whose score was known before their step.
    """

    asked: int = 0
    known: int = 0


class Calibration(Manifest):
    """What the first prefetched scores decide about a run's soft labels.

    Attributes:
        scales: source → its scale in the blend; empty where nothing is blended.
        temperature: T.
    """

    scales: dict[str, float]
    temperature: float


class TrainState(Manifest):
    """All that a checkpoint says of its run; there is no random state.

    Attributes:
        format: version of this layout.
        step: optimiser steps done.
        due: what is still to be done at this step, in order; resuming does it first.
        index: name under `index/` of the last finished index; None before the first, and where it
            is about to be replaced.
        found_before: what the index that is about to be replaced found for the next step that
            searches, rows [G, K]; None where there is no such index or step.
        selection: which checkpoint is kept so far.
        epoch_pairs: asked for in the epoch under way.
        agreed: rows of the passages that held-out questions are judged by, see
            `art.training.agreement`; None where labels judge, or nothing was evaluated yet.
        skipped_steps: steps so far whose gradient was not finite.
        skipped_in_a_row: of those, the ones at the end.
        is_prefetching: whether scoring the pairs of coming steps is under way.
        metrics_bytes: length of `metrics.jsonl`.
        num_scores: entries of the score log, which verifies its bytes itself.
        num_scored: pairs put through the teacher so far; the other entries were taken over.
        num_reranker_scores: entries of the log of a blended reranker's scores.
        score_mark: how many scores there were before those of the steps under way were added,
            where several steps' are scored together.
        calibration: of the soft labels; None where nothing is found from scores, or not yet.
        keeps_start_index: whether the index of step 0 is read as long as the run lasts.
        teacher_prompt: the teacher's prompt as rendered; some chat templates insert today's date.
        passage_tower_is_frozen: whether every checkpoint holds the weights that built the index.
        fingerprints: of what the run reads, which must not change under it.
        versions: of the libraries that shape the numbers.
        config: the resolved settings.
    """

    format: int = FORMAT
    step: int = 0
    due: tuple[Action, ...]
    index: str | None = None
    found_before: tuple[tuple[int, ...], ...] | None = None
    selection: Selection = Selection()
    epoch_pairs: EpochPairs = EpochPairs()
    agreed: tuple[int, ...] | None = None
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    is_prefetching: bool = False
    metrics_bytes: int = 0
    num_scores: int = 0
    num_scored: int = 0
    num_reranker_scores: int = 0
    score_mark: int | None = None
    calibration: Calibration | None = None
    keeps_start_index: bool = False
    teacher_prompt: str = ""
    passage_tower_is_frozen: bool
    fingerprints: dict[str, str]
    versions: dict[str, str]
    config: dict[str, Any]

    def changed(self, **values: Any) -> Self:
        """Return the state with other values."""
        return self.model_copy(update=values)

    def after_step(self, *, is_finite: bool, pairs: EpochPairs) -> Self:
        """Return the state after another optimiser step.

        Args:
            is_finite: whether its gradient was; else the step was skipped.
            pairs: that it asked for, over all processes.
        """
        return self.changed(
            step=self.step + 1,
            due=(),
            epoch_pairs=EpochPairs(
                asked=self.epoch_pairs.asked + pairs.asked,
                known=self.epoch_pairs.known + pairs.known,
            ),
            skipped_steps=self.skipped_steps + (not is_finite),
            skipped_in_a_row=0 if is_finite else self.skipped_in_a_row + 1,
        )
