"""The checkpoints of a run, from which it goes on exactly: written, read, kept and deleted."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING

import torch

from art.config import Manifest
from art.errors import CorruptionError, MismatchError
from art.files import atomic_folder, link
from art.integrity import CHECKSUMS, Checksums, check_folder
from art.training.run_folder import RunFolder, step_of
from art.training.state import FORMAT, TrainState
from art.training.verdict import Verdict
from art.weights import save_tensors, saving_weights

if TYPE_CHECKING:
    from art.training.students import Student

_KINDS = ("step", "best", "damaged")  # what lies under checkpoints/
# The newest, and the one before it in case the newest turns out damaged.
_NUM_KEPT = 2


class TrainingResult(Manifest):
    """What a finished run has to say.

    Attributes:
        metric: name of the metric that chose the weights.
        best_step: the step they come from; 0 for the start, also where the verdict keeps it.
        last_step: the step at which training ended.
        before: evaluation of the start, by metric.
        after: evaluation of the chosen weights, by metric.
        beside: `BM25`, and the retriever and BM25 fused `before` and `after`, by metric; None
            unless `evaluation.fused`.
        num_questions: that chose.
        verdict: whether the chosen weights are better than the start; None where the start was
            chosen, or no question was asked of the corpus.
        fingerprints: of what the run read.
        versions: of the libraries that shape the numbers.
        seed: of the run; its settings are in `config.yaml` beside this file.
    """

    metric: str
    best_step: int
    last_step: int
    before: dict[str, float]
    after: dict[str, float]
    beside: dict[str, dict[str, float]] | None = None
    num_questions: int
    verdict: Verdict | None = None
    fingerprints: dict[str, str]
    versions: dict[str, str]
    seed: int


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that shape the numbers."""
    names = ("art-retriever", "torch", "transformers", "accelerate", "tokenizers", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def save_checkpoint(
    run: RunFolder, state: TrainState, student: Student, optimizer: torch.optim.Optimizer
) -> None:
    """Write a checkpoint atomically, and point `last` at it.

    Raises:
        ArtError: the checkpoint cannot be written; the one before it stays.
    """
    folder = run.checkpoint_folder(state.step)
    provenance = state.model_dump(include={"step", "fingerprints", "config"})
    with atomic_folder(folder) as beside, saving_weights(folder):
        student.save(beside / run.student, provenance=provenance)
        save_tensors(optimizer.state_dict(), beside / "optimizer.pt")
        state.write(beside / "state.json")
        Checksums.of_folder(beside).write(beside / CHECKSUMS)
    link(run.path / "last", folder)


def load_state(run: RunFolder, step: int) -> TrainState:
    """Read what a checkpoint says of its run.

    Raises:
        CorruptionError: it cannot be read.
        MismatchError: another version wrote it.
    """
    path = run.checkpoint_folder(step) / "state.json"
    state = TrainState.read(path)
    if state.format != FORMAT:
        raise MismatchError(f"layout {state.format}, this version reads {FORMAT}", where=path)
    return state


def check_unchanged(run: RunFolder, state: TrainState, now: dict[str, str]) -> None:
    """Check that what a run reads is what it was when the checkpoint was taken.

    Args:
        run: whose checkpoint it is.
        state: the checkpoint's.
        now: fingerprints of what is there now.

    Raises:
        MismatchError: something is not the same; names each with both fingerprints.
    """
    changed = [
        f"{name} ({then} → {now.get(name)})"
        for name, then in state.fingerprints.items()
        if now.get(name) != then
    ]
    if changed:
        raise MismatchError(
            "what this run reads has changed: " + ", ".join(changed),
            where=run.path,
            hint="restore it to go on, or choose another output.folder",
        )


def load_optimizer(run: RunFolder, step: int, optimizer: torch.optim.Optimizer) -> None:
    """Fill the optimiser with its state at a checkpoint."""
    path = run.checkpoint_folder(step) / "optimizer.pt"
    optimizer.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def keep_best(run: RunFolder, step: int) -> None:
    """Keep the weights of a step's checkpoint as the best, without copying their bytes.

    Raises:
        ArtError: a file cannot be written.
    """
    folder, checkpoint = run.best_folder(step), run.checkpoint_folder(step)
    with atomic_folder(folder) as beside:
        shutil.copytree(
            checkpoint / run.student, beside, dirs_exist_ok=True, copy_function=_link_or_copy
        )
        written = Checksums.read(checkpoint / CHECKSUMS)
        written.below(run.student).write(beside / CHECKSUMS)
    link(run.path / "best", folder)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)


def prune(run: RunFolder) -> None:
    """Delete all but the last two checkpoints and what they may need; the others' indexes too.

    What the questions found at step 0 is kept for comparison.

    They may need the checkpoint of the step that built their index: only its weights can build the
    index again. Where the passage tower is frozen they do not.
    """
    steps = run.steps()
    newest = [load_state(run, step) for step in steps[-_NUM_KEPT:]]
    builders = {
        step_of(state.index)
        for state in newest
        if state.index and not state.passage_tower_is_frozen
    }
    states = [load_state(run, step) for step in builders.intersection(steps[:-_NUM_KEPT])]
    states += newest
    kept = {run.index_folder(state.index) for state in newest if state.index}
    if any(state.keeps_start_index for state in newest):
        kept.add(run.start_index_folder)
    kept |= {run.checkpoint_folder(state.step) for state in states}
    kept |= {run.best_folder(state.selection.best.step) for state in states if state.selection.best}
    if any(state.agreed for state in states):  # then the start may be what is kept in the end
        kept.add(run.best_folder(0))
    for pattern in ("index/step-*", *(f"checkpoints/{kind}-*" for kind in _KINDS)):
        for folder in run.path.glob(pattern):
            if folder not in kept:
                shutil.rmtree(folder)
    wanted = {
        run.rankings_file(step)
        for step in (0, *(s.selection.best.step for s in states if s.selection.best))
    }
    for file in run.path.glob("evaluations/step-*.jsonl"):
        if file not in wanted:
            file.unlink()


def publish(run: RunFolder, best_step: int) -> None:
    """Copy the best weights to the folder of the result, which is the user's to change.

    Raises:
        CorruptionError: they are damaged.
        ArtError: a file cannot be written.
    """
    best = run.best_folder(best_step)
    try:
        check_folder(best)
    except CorruptionError as error:
        raise CorruptionError(
            f"{error.what}: the weights of step {best_step}, the best, are lost",
            where=error.where,
            hint=f"restore the file; the last weights are in {run.path / 'last' / run.student}",
        ) from error
    with atomic_folder(run.result_folder) as beside:
        ignore = shutil.ignore_patterns(CHECKSUMS)
        shutil.copytree(best, beside, ignore=ignore, dirs_exist_ok=True)
