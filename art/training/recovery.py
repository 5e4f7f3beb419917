"""Going on after damage: the checkpoint before, and the index from the weights that built it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from art import distributed
from art.errors import ArtError, CorruptionError, notify
from art.files import cannot_write, link
from art.integrity import check_folder
from art.retriever.encoders import Retriever
from art.retriever.index import Index
from art.retriever.searcher import own_shards
from art.teacher.score_log import ScoreLog
from art.training.checkpoints import load_state
from art.training.corpus import RunCorpus
from art.training.run_folder import RunFolder, step_of
from art.training.state import TrainState


def put_damaged_aside(run: RunFolder) -> None:
    """Make the newest checkpoint that is whole the last one, and say so if it was not; on main.

    Every file of a checkpoint is read, which takes a second for a gigabyte and core.

    Raises:
        CorruptionError: there are checkpoints, but none that is whole; nothing is changed.
    """
    damages: list[CorruptionError] = []
    for step in reversed(run.steps()):
        damage = _damage(run, step)
        if damage is None:
            break
        damages.append(damage)
    else:
        if damages:
            raise CorruptionError(
                "no checkpoint of this run is whole: " + "; ".join(map(_in_short, damages)),
                where=run.path,
                hint="restore the files, or choose another output.folder to begin anew",
            )
        return
    if damages:
        _go_back(run, load_state(run, step))
        found = "; ".join(map(_in_short, damages))
        notify(f"{found}; going on from the checkpoint of step {step}")


def _in_short(damage: ArtError) -> str:
    return f"{damage.where}: {damage.what}"


def _damage(run: RunFolder, step: int) -> CorruptionError | None:
    folder = run.checkpoint_folder(step)
    try:
        check_folder(folder)
        state = load_state(run, step)
        if teacher := state.fingerprints.get("teacher"):
            ScoreLog(run.scores_file, fingerprint=teacher, length=state.num_scores).close()
        if reranker := state.fingerprints.get("reranker"):
            length = state.num_reranker_scores
            ScoreLog(run.reranker_scores_file, fingerprint=reranker, length=length).close()
    except CorruptionError as damage:
        return damage
    return None


def _go_back(run: RunFolder, state: TrainState) -> None:
    # The links first: whenever this is cut off, they point at something whole.
    link(run.path / "last", run.checkpoint_folder(state.step))
    if state.selection.best is None:
        (run.path / "best").unlink(missing_ok=True)
    else:
        link(run.path / "best", run.best_folder(state.selection.best.step))
    for step in run.steps():
        if step > state.step:
            _put_aside(run.checkpoint_folder(step))


def _put_aside(folder: Path) -> None:
    aside = folder.with_name(f"damaged-{folder.name}")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(folder, aside)
    except OSError as error:
        raise cannot_write(error, aside) from error


def open_index(
    run: RunFolder,
    state: TrainState,
    *,
    corpus: RunCorpus,
    retriever: Retriever,
    weights_at: Callable[[int], Retriever],
) -> Index | None:
    """Open the index that a checkpoint names and read it whole; repair it if it is damaged.

    It was built from the weights of an earlier step than the checkpoint's, so those are what it is
    embedded from again. Every process of the job calls it.

    Args:
        run: the run's folder.
        state: of the checkpoint.
        corpus: that the run reads.
        retriever: with the checkpoint's weights.
        weights_at: loads the retriever of another checkpoint.

    Returns:
        None where there is none, or where it is about to be replaced.

    Raises:
        CorruptionError: the index is damaged, and so are the weights that built it.
    """
    if state.index is None:
        return None
    folder = run.index_folder(state.index)
    index, damage = _whole(folder, corpus.store.fingerprint)
    if damage is None:
        return index
    step = step_of(state.index)
    if not state.passage_tower_is_frozen:
        with distributed.fail_together():
            retriever = _builder(run, step, weights_at, damage)
    _notify_once(f"{damage}; embedding it again from the weights of step {step}")
    return corpus.embed(retriever, folder, f"index of step {step}")


def open_start_index(run: RunFolder, *, corpus: RunCorpus, start: Retriever) -> Index:
    """Open the index of step 0, or embed it where it is missing or damaged; every process calls it.

    Args:
        run: the run's folder.
        corpus: that the run reads.
        start: the retriever before training.
    """
    folder, fingerprint = run.start_index_folder, start.fingerprint()
    index, _ = _whole(folder, corpus.store.fingerprint, fingerprint)
    return index or corpus.embed(start, folder, "index of the start", fingerprint)


def _whole(
    folder: Path, store_fingerprint: str, retriever_fingerprint: str | None = None
) -> tuple[Index | None, str | None]:
    """Return the index, or what is wrong with it, the same on every process."""
    index = None

    def damage() -> str | None:
        nonlocal index
        try:
            index = Index.open(folder, retriever_fingerprint=retriever_fingerprint)
            # Each its own, so that all of them have read it whole.
            index.check(own_shards(index.num_shards))
        except ArtError as error:
            return _in_short(error)
        if index.store_fingerprint != store_fingerprint:
            return f"{folder}: holds other passages than the run reads"
        return None

    damages = distributed.together(damage)
    first = next((one for one in damages if one), None)
    return (index if first is None else None), first


def _builder(
    run: RunFolder, step: int, weights_at: Callable[[int], Retriever], damage: str
) -> Retriever:
    try:
        check_folder(run.checkpoint_folder(step))
    except CorruptionError as error:
        raise CorruptionError(
            f"the index is damaged ({damage}), and so are the weights that built it "
            f"({_in_short(error)})",
            where=run.path,
            hint="restore one of them, or choose another output.folder to begin anew",
        ) from error
    return weights_at(step)


def _notify_once(line: str) -> None:
    if distributed.is_main():
        notify(line)
