"""Questions answered by all processes, a block at a time; what was read before is not read again.

A block's questions and passages are always batched alike, so no answer depends on the number of
processes, nor on where a killed job goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from art import distributed
from art.answering.reader import LONGEST_ANSWER
from art.answering.reading import BLOCK, Answer, Answered, answer
from art.data.kept_lines import KeptLines
from art.files import fingerprint, lock

if TYPE_CHECKING:
    from art.answering.reader import AnswerReader
    from art.data.passages import PassageStore


def answer_all(
    reader: AnswerReader,
    questions: Sequence[str],
    rows: NDArray[np.int64],
    store: PassageStore,
    cache: Path,
    *,
    depths: Sequence[int],
    progress: bool = True,
) -> Answered:
    """Answer questions from the passages that were retrieved for them, see `answer`.

    Every process of the job must call it, with the same arguments, and gets all answers.

    Args:
        reader: of the passages.
        questions: Q texts.
        rows: of each question's passages, best first, [Q, K].
        store: the passages.
        cache: folder for things that can be built again, on a disk that the main process writes to;
            each block's answers are kept there.
        depths: of the first how many passages there is an answer.
        progress: show a bar on the main process.

    Raises:
        ArtError: another job reads the same, or a file cannot be written.
        CorruptionError: what is kept is damaged.
    """
    with ExitStack() as held:
        with distributed.fail_together():
            kept = None
            if distributed.is_main():
                own = fingerprint(
                    reader.fingerprint(),
                    f"{LONGEST_ANSWER} {BLOCK} {reader.device.type} {torch.__version__}",
                    store.fingerprint,
                    rows.tobytes(),
                    *map(str, depths),
                    *questions,
                )
                folder = cache / "answers" / own
                held.enter_context(
                    lock(folder / ".lock", wait=False, holder="another job that reads the same")
                )
                kept = KeptLines(folder / "answers.jsonl", own, called="answers")
        num_done = distributed.broadcast_object(0 if kept is None else kept.num_blocks)
        blocks = [slice(start, start + BLOCK) for start in range(0, len(questions), BLOCK)]
        bar = tqdm(
            total=len(questions),
            initial=min(num_done * BLOCK, len(questions)),
            desc="reading",
            unit=" questions",
            disable=not (progress and distributed.is_main()),
        )
        with bar:
            for start in range(num_done, len(blocks), distributed.world_size()):
                together = blocks[start : start + distributed.world_size()]

                def read(together: list[slice] = together) -> list[Answered]:
                    mine = together[distributed.rank() :][:1]
                    return [
                        answer(reader, questions[one], [*rows[one]], store, depths=depths)
                        for one in mine
                    ]

                every = [one for part in distributed.together(read) for one in part]
                with distributed.fail_together():
                    if kept is not None:
                        kept.append(map(_line, every), num_blocks=len(together))
                bar.update(sum(len(one.answers) for one in every))
        with distributed.fail_together():
            found = [] if kept is None else [_answered(line) for line in kept.read()]
    found = distributed.broadcast_object(found)
    return Answered(
        [one for block in found for one in block.answers], sum(block.num_cut for block in found)
    )


def _line(block: Answered) -> dict[str, Any]:
    answers = [{str(k): one and asdict(one) for k, one in of.items()} for of in block.answers]
    return {"answers": answers, "num_cut": block.num_cut}


def _answered(line: dict[str, Any]) -> Answered:
    answers = [{int(k): one and Answer(**one) for k, one in of.items()} for of in line["answers"]]
    return Answered(answers, line["num_cut"])
