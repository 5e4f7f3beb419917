"""The examples of the supervised mode on disk: questions, and passages as rows of a store.

A supervised store is a folder. `contexts/` is a passage store of every distinct passage (by title
and text; its ids are `content_id`s, as files give one id to several texts, or none), `keys.bin` a
uint64 for each of them. A question that stands in several rows is one, with the passages of all of
them. `questions.jsonl` holds the question and its answers, one line each, and
`question_borders.bin` where the lines begin. `rows.bin` holds the rows of each question's passages
end to end, `row_borders.bin` where its positives, its hard negatives and its other negatives begin.
Numbers are int64, but for the keys. `manifest.json` has the sizes and a checksum of every 4 MiB,
compared when that block is first read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from art.data.passages import PassageStore
from art.data.rows import BadRows
from art.data.supervised_building import (
    FORMAT,
    KINDS,
    LabelledFiles,
    SupervisedManifest,
    build,
    build_again,
    source_key,
)
from art.errors import CorruptionError, shown
from art.files import cache_folder
from art.integrity import CheckedFile, Repair, open_or_build, repairing


class SupervisedStore:
    """Questions and the passages that do and do not answer them, mapped for reading.

    Attributes:
        folder: where it lies.
        contexts: the distinct passages.
        questions: the questions as they stand in the files.
        notes: what a user must know of the files, a sentence each.
        bad_rows: of the files, skipped when the store was built.
        fingerprint: stands for the questions, answers and passages in their order.
    """

    folder: Path
    contexts: PassageStore
    questions: Sequence[str]
    notes: list[str]
    bad_rows: BadRows
    fingerprint: str

    def __init__(self, folder: Path, manifest: SupervisedManifest, repair: Repair) -> None:
        self.folder = folder
        self.notes = manifest.notes
        self.bad_rows = manifest.bad_rows
        self.fingerprint = manifest.fingerprint
        self.contexts = PassageStore.open(folder / "contexts", repair=repair)

        def opened(name: str, num_bytes: int) -> CheckedFile:
            return CheckedFile(folder / name, num_bytes, manifest.blocks[name], repair=repair)

        num_questions = manifest.num_questions
        self._keys = opened("keys.bin", 8 * len(self.contexts))
        self._rows = opened("rows.bin", 8 * manifest.num_rows)
        self._borders = opened("row_borders.bin", 8 * (KINDS * num_questions + 1))
        self._lines = _Lines(
            opened("questions.jsonl", manifest.question_bytes),
            opened("question_borders.bin", 8 * (num_questions + 1)),
        )
        self.questions = _Questions(self._lines)

    @classmethod
    def open_or_build(
        cls,
        files: Sequence[str | Path],
        *,
        skip_bad_rows: bool = False,
        cache: Path | None = None,
        progress: bool = True,
    ) -> SupervisedStore:
        """Open the store of these files, building it in the cache when one is new or changed.

        What turns out damaged there is built again, now or when it is first read. Files are
        streamed. What grows while building are tables of the distinct passages, about 170 bytes
        for each, and of the questions, about 200, and 64 bytes for each passage of a question.

        Args:
            files: what `read_supervised` reads; several are one list, in their order.
            skip_bad_rows: build it without malformed rows, kept in `bad_rows`.
            cache: folder for things that can be built again; None for the user's.
            progress: draw a progress bar while building.

        Raises:
            DataError: a file is missing or malformed, or no example has a positive.
            ArtError: the store cannot be written.
        """
        source = LabelledFiles(tuple(map(str, files)), skip_bad_rows)
        folder = (cache or cache_folder()) / "supervised" / source_key(source)
        return open_or_build(
            folder,
            partial(_open, repair=repairing(folder, partial(build_again, source, folder))),
            partial(build, source, folder, progress=progress),
        )

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self._lines)

    @property
    def keys(self) -> NDArray[np.uint64]:
        """Of each context, [num_contexts], equal for passages that count as one.

        A hash of the passage's text and of the id that the file gave where it first stood, else
        of its title and text.
        """
        return np.frombuffer(self._keys.read(0, len(self._keys)), dtype="<u8")

    def answers(self, question: int) -> tuple[str, ...]:
        """Return a question's answers; none where the file has none."""
        return tuple(self._lines[question][1])

    def positives(self, question: int) -> NDArray[np.int64]:
        """Return the rows [m] of the contexts that answer a question, at least one."""
        return self._of(question, 0)

    def hard_negatives(self, question: int) -> NDArray[np.int64]:
        """Return the rows [m] of a question's hard negatives."""
        return self._of(question, 1)

    def negatives(self, question: int) -> NDArray[np.int64]:
        """Return the rows [m] of a question's other negatives."""
        return self._of(question, 2)

    def select(
        self,
        question: int,
        *,
        seed: int,
        epoch: int,
        num_hard_negatives: int,
        positive: Literal["first", "random"] = "first",
    ) -> tuple[int, NDArray[np.int64]]:
        """Choose one positive and the negatives to train a question with, the same on every call.

        As in DPR, the positive is the file's first unless asked otherwise, and the negatives are
        drawn anew in every epoch, hard ones first. Other negatives make up for hard ones that lack
        (DPR does so only for a question with no hard one at all). A negative that counts as one of
        the question's positives is never chosen, nor one passage twice.

        Args:
            question: its position.
            seed: of the run.
            epoch: from 0; every epoch draws for itself.
            num_hard_negatives: how many negatives are wanted.
            positive: take the first positive, or draw one of them in every epoch.

        Returns:
            The positive's row, and the negatives' rows [m], m ≤ num_hard_negatives: fewer where the
            question has no more, see `num_short`.

        Source: Karpukhin et al. 2020 (DPR), `BiEncoder.create_biencoder_input`.
        """
        rng = np.random.default_rng([seed, epoch, question])
        positives = self.positives(question)
        drawn = rng.integers(len(positives))  # drawn always, so that it does not move the others
        chosen = int(positives[0 if positive == "first" else drawn])
        pools = [rng.permutation(pool) for pool in self._pools(question)]
        return chosen, np.concatenate(pools)[:num_hard_negatives]

    def num_short(self, num_hard_negatives: int) -> int:
        """Return how many questions have fewer negatives than this, of both kinds together."""
        counts = (sum(map(len, self._pools(question))) for question in range(len(self)))
        return sum(count < num_hard_negatives for count in counts)

    def _pools(self, question: int) -> list[NDArray[np.int64]]:
        """Return the hard negatives and the others, in order, each counted as one passage once."""
        taken = set(self.keys[self.positives(question)].tolist())
        pools = []
        for rows in (self.hard_negatives(question), self.negatives(question)):
            pool = []
            for row, key in zip(rows.tolist(), self.keys[rows].tolist(), strict=True):
                if key not in taken:
                    taken.add(key)
                    pool.append(row)
            pools.append(np.array(pool, dtype=np.int64))
        return pools

    def _of(self, question: int, kind: int) -> NDArray[np.int64]:
        if not 0 <= question < len(self):
            raise IndexError(f"question {question} of {len(self)}")
        place = KINDS * question + kind
        start, stop = _numbers(self._borders, place, place + 2).tolist()
        return _numbers(self._rows, start, stop)


class _Lines:
    """Question and answers of each example, read from the disk when asked for."""

    def __init__(self, text: CheckedFile, borders: CheckedFile) -> None:
        self._text = text
        self._borders = borders

    def __len__(self) -> int:
        return len(self._borders) // 8 - 1

    def __getitem__(self, position: int) -> tuple[str, list[str]]:
        start, stop = _numbers(self._borders, position, position + 2).tolist()
        question, answers = json.loads(bytes(self._text.read(start, stop)))
        return question, answers


class _Questions(Sequence[str]):
    def __init__(self, lines: _Lines) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        places = range(len(self))[position]
        if isinstance(places, range):
            return [self._lines[place][0] for place in places]
        return self._lines[places][0]


def _numbers(file: CheckedFile, start: int, stop: int) -> NDArray[np.int64]:
    return np.frombuffer(file.read(8 * start, 8 * stop), dtype="<i8")


def _open(folder: Path, repair: Repair) -> SupervisedStore:
    manifest = SupervisedManifest.read(folder / "manifest.json")
    if manifest.format != FORMAT:
        raise CorruptionError(f"not a {FORMAT!r} but {shown(manifest.format)}", where=folder)
    return SupervisedStore(folder, manifest, repair)
