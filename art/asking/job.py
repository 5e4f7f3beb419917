"""All passages asked about, a block at a time; a killed job goes on behind its last whole block.

A block's passages, and so the batches that they fall into, follow from the corpus and the settings
alone. A job that goes on therefore writes the bytes that it would have written, whichever process
asks about which block.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from art import distributed
from art.asking.asker import AskedPassage, AskedQuestion, Asker
from art.data.kept_lines import KeptLines, begun_with
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.files import fingerprint

_ASKED = "asked.jsonl"


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
    return begun_with(folder / _ASKED)


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
        kept = None
        if distributed.is_main():
            kept = KeptLines(
                folder / _ASKED, own, called="questions asked", begins_with=asker.prompts.texts
            )
    num_done = distributed.broadcast_object(kept.num_blocks if kept else 0)
    blocks = [
        rows[start : start + asker.block_passages]
        for start in range(0, len(rows), asker.block_passages)
    ]
    bar = tqdm(
        total=len(rows) * asker.num_questions,
        initial=sum(map(len, blocks[:num_done])) * asker.num_questions,
        desc="asking",
        unit=" questions",
        smoothing=0,  # the mean rate: blocks differ in length
        dynamic_ncols=True,
        disable=not (progress and distributed.is_main()),
    )
    with bar:
        for start in range(num_done, len(blocks), distributed.world_size()):
            together = blocks[start : start + distributed.world_size()]
            with distributed.fail_together():
                mine = together[distributed.rank() :][:1]
                asked = asker.ask([_passage(store, tokens, row) for block in mine for row in block])
            every = [one for part in distributed.gather_objects(asked) for one in part]
            with distributed.fail_together():
                if kept is not None:
                    kept.append(map(asdict, every), num_blocks=len(together))
            bar.update(len(every))
    with distributed.fail_together():
        found = [AskedQuestion(**one) for one in kept.read()] if kept is not None else []
    return distributed.broadcast_object(found)


def _passage(store: PassageStore, tokens: TokenStore, row: int) -> AskedPassage:
    return AskedPassage(store.ids([row])[0], tokens[int(row)])
