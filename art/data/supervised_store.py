"""The examples of the supervised mode on disk: questions, and passages as rows of a store.

A supervised store is a folder. `contexts/` is a passage store of every distinct passage (by title
and text; its ids are `content_id`s, as files give one id to several texts, or none), `keys.bin` a
uint64 for each of them. `questions.jsonl` holds the question and its answers, one line each, and
`question_borders.bin` where the lines begin. `rows.bin` holds the rows of each question's passages
end to end, `row_borders.bin` where its positives, its hard negatives and its other negatives begin.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from art.checked import check_size
from art.config import Manifest
from art.data.formats import Passage
from art.data.passages import PassageStore
from art.data.rows import BadRows
from art.data.supervised import SupervisedExample, content_id, read_supervised
from art.errors import CorruptionError, DataError
from art.files import atomic_folder, cache_folder, file_state, fingerprint, lock

_FORMAT = "supervised store 2"
_NUM_SHOWN = 3
_KINDS = 3  # of a question's passages: positives, hard negatives, other negatives


class _SupervisedManifest(Manifest):
    format: str
    files: list[str]
    num_questions: int
    num_rows: int
    question_bytes: int
    left_out: str
    bad_rows: BadRows
    fingerprint: str


class SupervisedStore:
    """Questions and the passages that do and do not answer them, mapped for reading.

    Attributes:
        folder: where it lies.
        contexts: the distinct passages.
        keys: [num_contexts] uint64, equal for passages that count as one: a hash of the id that
            the file gave where the passage first stood, else of its title and text.
        questions: the questions as they stand in the files.
        left_out: a note on examples without a positive, empty where there is none.
        bad_rows: of the files, skipped when the store was built.
        fingerprint: stands for the questions, answers and passages in their order.
    """

    folder: Path
    contexts: PassageStore
    keys: NDArray[np.uint64]
    questions: Sequence[str]
    left_out: str
    bad_rows: BadRows
    fingerprint: str

    def __init__(self, folder: Path, manifest: _SupervisedManifest) -> None:
        self.folder = folder
        self.left_out = manifest.left_out
        self.bad_rows = manifest.bad_rows
        self.fingerprint = manifest.fingerprint
        self.contexts = PassageStore.open(folder / "contexts")
        num_questions = manifest.num_questions
        self.keys = _mapped(folder / "keys.bin", "<u8", len(self.contexts))
        self._rows = _mapped(folder / "rows.bin", "<i8", manifest.num_rows)
        self._borders = _mapped(folder / "row_borders.bin", "<i8", _KINDS * num_questions + 1)
        self._lines = _Lines(folder, num_questions, manifest.question_bytes)
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

        Files are streamed. What grows while building is a table of the distinct passages, about
        150 bytes for each, and 8 bytes for its key.

        Args:
            files: what `read_supervised` reads; several are one list, in their order.
            skip_bad_rows: build it without malformed rows, kept in `bad_rows`.
            cache: folder for things that can be built again; None for the user's.
            progress: draw a progress bar while building.

        Raises:
            DataError: a file is missing or malformed, or no example has a positive.
            CorruptionError: the store is damaged.
            ArtError: the disk refuses.
        """
        stores = (cache or cache_folder()) / "supervised"
        key = _files_key(files, skip_bad_rows)
        folder = stores / key
        if not folder.exists():
            with lock(stores / f"{key}.lock"):
                if not folder.exists():  # another process may have built it meanwhile
                    _build(files, skip_bad_rows, folder, progress)
        manifest = _SupervisedManifest.read(folder / "manifest.json")
        if manifest.format != _FORMAT:
            raise CorruptionError(f"not a {_FORMAT!r} but {manifest.format!r}", where=folder)
        return cls(folder, manifest)

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self._lines)

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
        place = _KINDS * question + kind
        start, stop = self._borders[place : place + 2].tolist()
        return self._rows[start:stop]


class _Lines:
    """Question and answers of each example, read from the disk when asked for."""

    def __init__(self, folder: Path, count: int, num_bytes: int) -> None:
        check_size(folder / "questions.jsonl", num_bytes)
        self._borders = _mapped(folder / "question_borders.bin", "<i8", count + 1)
        with open(folder / "questions.jsonl", "rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._borders) - 1

    def __getitem__(self, position: int) -> tuple[str, list[str]]:
        start, stop = self._borders[position : position + 2].tolist()
        question, answers = json.loads(self._text[start:stop])
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


def _mapped(path: Path, dtype: str, count: int) -> NDArray[Any]:
    """Map a file of `count` numbers for reading."""
    check_size(path, count * np.dtype(dtype).itemsize)
    # A plain view: indexing a memmap object itself is several times slower.
    return np.memmap(path, dtype=dtype, mode="r", shape=(count,)).view(np.ndarray)


def _files_key(files: Sequence[str | Path], skip_bad_rows: bool) -> str:
    states = ["without bad rows"] * skip_bad_rows
    for path in map(Path, files):
        try:
            states.append(file_state(path))
        except OSError as error:
            raise DataError(f"cannot read: {error.strerror}", where=path) from error
    return fingerprint(_FORMAT, *states)


def _build(files: Sequence[str | Path], skip_bad_rows: bool, folder: Path, progress: bool) -> None:
    source = ", ".join(map(str, files))
    bad_rows = BadRows()
    with atomic_folder(folder) as beside:
        with ExitStack() as opened:
            writer = _Writer(beside, opened)
            passages = _new_contexts(files, writer, bad_rows if skip_bad_rows else None)
            contexts = PassageStore.build(
                passages, beside / "contexts", source=source, progress=progress
            )
        _SupervisedManifest(
            format=_FORMAT,
            files=[str(path) for path in files],
            num_questions=writer.num_questions,
            num_rows=writer.num_rows,
            question_bytes=writer.question_bytes,
            left_out=writer.note(),
            bad_rows=bad_rows,
            fingerprint=fingerprint(contexts.fingerprint, writer.fingerprint()),
        ).write(beside / "manifest.json")


def _new_contexts(
    files: Sequence[str | Path], writer: _Writer, bad_rows: BadRows | None
) -> Iterator[Passage]:
    """Write every example; yield each passage where it first stands."""
    for path in files:
        for where, example in read_supervised(path, bad_rows):
            if example.positives:
                yield from writer.add(example)
            else:
                writer.leave_out(where)
    if not writer.num_questions:
        skipped = bad_rows.report() if bad_rows else ""
        raise DataError(
            "; ".join(["no example has a positive passage", *filter(None, [skipped])]),
            where=", ".join(map(str, files)),
            hint=writer.note() or "there is no example at all",
        )


class _Writer:
    """Writes examples one after another into open files; passages it only numbers.

    Attributes:
        num_questions: written.
        num_rows: written, over all questions.
        question_bytes: written.
    """

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        def create(name: str) -> IO[bytes]:
            return opened.enter_context(open(folder / name, "wb"))

        self.num_questions = self.num_rows = self.question_bytes = 0
        self._digest = hashlib.blake2b(digest_size=16)
        self._keys = create("keys.bin")
        self._rows, self._row_borders = create("rows.bin"), create("row_borders.bin")
        self._lines, self._line_borders = create("questions.jsonl"), create("question_borders.bin")
        self._put(self._row_borders, 0)
        self._put(self._line_borders, 0)
        self._row_of: dict[bytes, int] = {}  # by content id
        self._num_left_out = 0
        self._left_out: list[str] = []

    def add(self, example: SupervisedExample) -> Iterator[Passage]:
        """Write an example; yield its passages that are new, under their content's id."""
        line = json.dumps([example.question, example.answers], ensure_ascii=False).encode() + b"\n"
        self._lines.write(line)
        self._digest.update(line)
        self.num_questions += 1
        self.question_bytes += len(line)
        self._put(self._line_borders, self.question_bytes)
        for passages in (example.positives, example.hard_negatives, example.negatives):
            for passage in passages:
                content = content_id(passage.title, passage.text)
                row = self._row_of.get(bytes.fromhex(content))
                if row is None:
                    row = self._row_of[bytes.fromhex(content)] = len(self._row_of)
                    self._put(self._keys, _key(passage.passage_id))
                    yield replace(passage, passage_id=content)
                self._put(self._rows, row)
            self.num_rows += len(passages)
            self._put(self._row_borders, self.num_rows)

    def leave_out(self, where: str) -> None:
        """Count an example without a positive."""
        self._num_left_out += 1
        self._left_out += [where] * (len(self._left_out) < _NUM_SHOWN)

    def note(self) -> str:
        """Return what to say about the examples left out, nothing if there are none."""
        if not self._num_left_out:
            return ""
        more = ", …" if self._num_left_out > len(self._left_out) else ""
        return (
            f"{self._num_left_out:,} of {self._num_left_out + self.num_questions:,} examples have "
            f"no positive passage and are left out ({', '.join(self._left_out)}{more})"
        )

    def fingerprint(self) -> str:
        """Return what stands for all that was written, the passages' texts apart."""
        return self._digest.hexdigest()

    def _put(self, file: IO[bytes], number: int) -> None:
        record = struct.pack("<Q", number)
        file.write(record)
        self._digest.update(record)


def _key(passage_id: str) -> int:
    return int(fingerprint(passage_id)[:16], 16)
