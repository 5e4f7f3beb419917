"""All passages asked about, a block at a time; a killed job goes on behind its last whole block.

A block's passages, and so the batches that they fall into, follow from the corpus and the settings
alone. A job that goes on therefore writes the bytes that it would have written, whichever process
asks about which block.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from art import distributed
from art.asking.asker import AskedPassage, AskedQuestion, Asker
from art.config import Manifest
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.errors import CorruptionError, MismatchError
from art.files import cannot_write, fingerprint

_ASKED = "asked.jsonl"
_PROGRESS = "progress.json"


class _JobState(Manifest):
    """What of a job's file counts.

    Attributes:
        fingerprint: of the passages and everything else that the questions depend on.
        prompts: their texts as they were rendered when the job began, by the kinds' names.
        num_blocks: that are done.
        num_bytes: of the file.
    """

    fingerprint: str
    prompts: dict[str, str]
    num_blocks: int = 0
    num_bytes: int = 0


def choose_rows(num_passages: int, count: int | None, *, seed: int) -> NDArray[np.int64]:
    """Return the rows that are asked about, ascending: all, or so many drawn at random."""
    rows = np.arange(num_passages)
    if count is None or count >= num_passages:
        return rows
    return np.sort(np.random.default_rng(seed).permutation(num_passages)[:count])


def prompts_of(folder: Path) -> dict[str, str]:
    """Return the prompts' texts of the job in a folder, none where none has begun there.

    Raises:
        CorruptionError: its file is damaged.
    """
    path = folder / _PROGRESS
    return _JobState.read(path).prompts if path.exists() else {}


def ask_all(
    asker: Asker,
    store: PassageStore,
    rows: NDArray[np.int64],
    folder: Path,
    *,
    progress: bool = True,
) -> list[AskedQuestion]:
    """Ask about passages and return the questions, in the order of the rows.

    Every process of the job must call it, with the same arguments.

    Args:
        asker: the model.
        store: the passages.
        rows: of those that are asked about.
        folder: holds what was asked so far, on a disk that the main process writes to.
        progress: show questions a second and the remaining time on the main process.

    Raises:
        MismatchError: what is in the folder was asked with other settings or passages.
        CorruptionError: it is damaged.
        ArtError: a file cannot be written.
    """
    with distributed.fail_together():
        tokens = TokenStore.open_or_build(
            store, asker.prompts.encoder, progress=progress and distributed.is_main()
        )
        own = fingerprint(store.fingerprint, asker.fingerprint, rows.tobytes())
        begun = _begun(folder, own, asker.prompts.texts) if distributed.is_main() else None
    state = distributed.broadcast_object(begun)
    assert state is not None
    blocks = [
        rows[start : start + asker.block_passages]
        for start in range(0, len(rows), asker.block_passages)
    ]
    bar = tqdm(
        total=len(rows) * asker.num_questions,
        initial=sum(map(len, blocks[: state.num_blocks])) * asker.num_questions,
        desc="asking",
        unit=" questions",
        smoothing=0,  # the mean rate: blocks differ in length
        dynamic_ncols=True,
        disable=not (progress and distributed.is_main()),
    )
    with bar:
        for start in range(state.num_blocks, len(blocks), distributed.world_size()):
            together = blocks[start : start + distributed.world_size()]
            with distributed.fail_together():
                mine = together[distributed.rank() :][:1]
                asked = asker.ask([_passage(store, tokens, row) for block in mine for row in block])
            every = [one for part in distributed.gather_objects(asked) for one in part]
            with distributed.fail_together():
                if distributed.is_main():
                    state = _append(folder, state, every, len(together))
            bar.update(len(every))
    with distributed.fail_together():
        found = list(_read(folder / _ASKED)) if distributed.is_main() else []
    return distributed.broadcast_object(found)


def _passage(store: PassageStore, tokens: TokenStore, row: int) -> AskedPassage:
    return AskedPassage(store.ids([row])[0], tokens[int(row)])


def _begun(folder: Path, own: str, prompts: dict[str, str]) -> _JobState:
    """Return how far the job is, and cut its file to what counts."""
    path = folder / _PROGRESS
    if not path.exists():
        state = _JobState(fingerprint=own, prompts=prompts)
        folder.mkdir(parents=True, exist_ok=True)
        state.write(path)
    state = _JobState.read(path)
    if state.fingerprint != own:
        raise MismatchError(
            "the questions asked so far are of other settings or passages",
            where=folder,
            hint="give the settings it was begun with, delete it, or choose another --output",
        )
    try:
        with open(folder / _ASKED, "ab") as file:
            size = os.fstat(file.fileno()).st_size
            if size < state.num_bytes:
                raise CorruptionError(
                    f"{size} bytes, but {state.num_bytes} were written",
                    where=folder / _ASKED,
                    hint="delete its folder to begin again",
                )
            file.truncate(state.num_bytes)
    except OSError as error:
        raise cannot_write(error, folder / _ASKED) from error
    return state


def _append(
    folder: Path, state: _JobState, asked: list[AskedQuestion], num_blocks: int
) -> _JobState:
    """Add the questions of some blocks, on the disk before they count."""
    lines = b"".join(json.dumps(asdict(one), ensure_ascii=False).encode() + b"\n" for one in asked)
    try:
        with open(folder / _ASKED, "ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(error, folder / _ASKED) from error
    after = _JobState(
        fingerprint=state.fingerprint,
        prompts=state.prompts,
        num_blocks=state.num_blocks + num_blocks,
        num_bytes=state.num_bytes + len(lines),
    )
    after.write(folder / _PROGRESS)
    return after


def _read(path: Path) -> Iterator[AskedQuestion]:
    with open(path, encoding="utf-8", newline="\n") as file:
        for line in file:
            yield AskedQuestion(**json.loads(line))
