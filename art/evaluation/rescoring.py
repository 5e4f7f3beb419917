"""The results of any search in a frozen teacher's order, without training anything.

Source: Sachan et al. 2022, "Improving Passage Retrieval with Zero-Shot Question Generation" (UPR).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from art import distributed
from art.config import Manifest
from art.evaluation.rerank import in_order
from art.evaluation.runs import write_run
from art.files import lock
from art.teacher.cached import CachedTeacher
from art.teacher.grouped import grouped_scores
from art.teacher.log_file import LOG_NAME, Records, read_known
from art.teacher.score_log import ScoreLog

if TYPE_CHECKING:
    from art.data.formats import Question
    from art.data.passages import PassageStore
    from art.data.tokens import TokenStore
    from art.teacher.base import Teacher


def rescore_run(
    teacher: Teacher,
    passage_tokens: TokenStore,
    questions: Sequence[Question],
    rows: NDArray[np.int64],
    store: PassageStore,
    output: Path,
    *,
    known_scores: Sequence[str | Path] = (),
    progress: bool = True,
) -> None:
    """Write a run in the teacher's order; a killed call goes on from the scores beside the output.

    Every process of the job must call it, with the same arguments.

    Args:
        teacher: the frozen teacher.
        passage_tokens: the store's passages, encoded by the teacher's template.
        questions: Q of them.
        rows: passages of each question, [Q, K], -1 behind the last where there are fewer.
        store: the passages.
        output: the result file, in the format of its ending; the scores so far are in
            `<output>.scores/` until it is written.
        known_scores: run folders or score logs whose scores are taken over when the job begins.
        progress: show pairs a second and the remaining time on the main process.

    Raises:
        ArtError: another job writes this output, or a file cannot be written.
        MismatchError: the scores beside the output, or some of those known, are another teacher's.
    """
    texts = [question.text for question in questions]
    folder = output.with_name(f"{output.name}.scores")
    with _kept_scores(folder, teacher.fingerprint, known_scores) as kept:
        cached = CachedTeacher(teacher, kept.log, passage_tokens)
        scores = grouped_scores(cached, texts, rows, after_block=kept.keep, progress=progress)
        with distributed.fail_together():
            if distributed.is_main():
                write_run(output, questions, *in_order(rows, scores), store)


class _Progress(Manifest):
    num_scores: int


@dataclass(frozen=True)
class _Kept:
    """The scores of a job under way.

    Attributes:
        log: those of whole blocks.
    """

    log: ScoreLog
    _progress: Path

    @classmethod
    def open(cls, folder: Path, fingerprint: str) -> _Kept:
        # Scores behind the last whole block do not count: with some of a block's pairs known, the
        # others would be batched differently, which changes their last bits.
        progress = folder / "progress.json"
        length = _Progress.read(progress).num_scores if progress.exists() else 0
        return cls(ScoreLog(folder / LOG_NAME, fingerprint=fingerprint, length=length), progress)

    @property
    def has_begun(self) -> bool:
        """Whether the job was under way before."""
        return self._progress.exists()

    def take_over(self, known: Records | None) -> None:
        """Add the scores that the main process found elsewhere."""
        if self.log.take_over(known):
            self.keep()

    def keep(self) -> None:
        """Put the scores of another block on the disk."""
        with distributed.fail_together():
            self.log.sync()
            if distributed.is_main():
                _Progress(num_scores=self.log.length).write(self._progress)


@contextmanager
def _kept_scores(
    folder: Path, fingerprint: str, known_scores: Sequence[str | Path]
) -> Iterator[_Kept]:
    """Open the scores of a job under way, and remove them when the block ends well."""
    with ExitStack() as held:
        with distributed.fail_together():
            if distributed.is_main():
                holder = "another job that writes this output"
                held.enter_context(lock(folder / ".lock", wait=False, holder=holder))
        distributed.require_shared(folder)
        with distributed.fail_together():
            kept = _Kept.open(folder, fingerprint)
            sources = [] if kept.has_begun else known_scores
            known = read_known(sources, fingerprint) if distributed.is_main() else None
        held.callback(kept.log.close)
        kept.take_over(known)
        yield kept
    if distributed.is_main():
        shutil.rmtree(folder, ignore_errors=True)
