"""Writing the folder of a supervised store, which `supervised_store` describes, from its files."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from art.config import SealedManifest
from art.data.formats import (
    Passage,
    SupervisedExample,
    SupervisedFormat,
    prefixed_format,
    read_supervised,
    source_files,
)
from art.data.passages import PassageStore
from art.data.records import comparable, content_id
from art.data.rows import READING, BadRows
from art.errors import CorruptionError, DataError, shown
from art.files import atomic_folder, file_state, fingerprint
from art.integrity import file_checksums

FORMAT = "supervised store 3"

KINDS = 3  # of a question's passages: positives, hard negatives, other negatives
_NUM_SHOWN = 3
_FILES = ("keys.bin", "rows.bin", "row_borders.bin", "questions.jsonl", "question_borders.bin")


class SupervisedManifest(SealedManifest):
    """What a folder holds, with a checksum of every block of its own files."""

    format: str
    files: list[str]
    num_questions: int
    num_rows: int
    question_bytes: int
    notes: list[str]
    bad_rows: BadRows
    fingerprint: str
    blocks: dict[str, list[str]]


class LabelledFiles(NamedTuple):
    """What a store can be built from again.

    Attributes:
        files: what `read_supervised` reads.
        skip_bad_rows: whether to leave malformed rows out.
    """

    files: tuple[str, ...]
    skip_bad_rows: bool


def source_key(source: LabelledFiles) -> str:
    """Return the cache key: the files' paths, sizes and times of change."""
    states = ["without bad rows"] * source.skip_bad_rows
    for one in source.files:
        if prefixed_format(SupervisedFormat, one) is not None:
            states.append(one)  # a dataset's splits and configurations share files
        try:
            states += map(file_state, source_files(SupervisedFormat, one))
        except OSError as error:
            raise DataError(f"cannot read: {error.strerror}", where=one) from error
    return fingerprint(FORMAT, READING, *states)


def build_again(source: LabelledFiles, folder: Path) -> None:
    """Write a store that is damaged once more.

    Raises:
        CorruptionError: its files have changed since it was built.
        ArtError: as `build`.
    """
    if source_key(source) != folder.name:
        raise CorruptionError(
            "this store is damaged, and its files have changed since it was built",
            where=folder,
            hint="start again: the changed files get a store of their own",
        )
    build(source, folder, progress=False)


def build(source: LabelledFiles, folder: Path, *, progress: bool) -> None:
    """Write a store; the folder appears when it is complete, an older one in it is replaced.

    Args:
        source: what it is built from.
        folder: where to.
        progress: draw a progress bar.

    Raises:
        DataError: a file is malformed, or no example has a positive.
        ArtError: the store cannot be written.
    """
    bad_rows = BadRows()
    with atomic_folder(folder) as beside:
        with TemporaryFile(dir=beside) as examples, TemporaryFile(dir=beside) as ids:
            writer = _Writer(beside, examples, ids)
            contexts = PassageStore.build(
                _new_contexts(source, writer, bad_rows),
                beside / "contexts",
                source=", ".join(source.files),
                progress=progress,
            )
            written = writer.finish()
            notes = [*writer.notes(), *writer.repeated_ids(contexts)]
        SupervisedManifest(
            format=FORMAT,
            files=list(source.files),
            num_questions=written.num_questions,
            num_rows=written.num_rows,
            question_bytes=written.question_bytes,
            notes=notes,
            bad_rows=bad_rows,
            fingerprint=fingerprint(contexts.fingerprint, written.fingerprint),
            blocks={name: file_checksums(beside / name) for name in _FILES},
        ).write(beside / "manifest.json")


def _new_contexts(source: LabelledFiles, writer: _Writer, bad_rows: BadRows) -> Iterator[Passage]:
    """Take every example; yield each passage where it first stands."""
    for path in source.files:
        skipped = bad_rows if source.skip_bad_rows else None
        for where, example in read_supervised(path, skipped):
            if example.positives:
                yield from writer.add(example)
            else:
                writer.leave_out(where)
    if not writer.num_examples:
        raise DataError(
            "; ".join(filter(None, ["no example has a positive passage", bad_rows.report()])),
            where=", ".join(source.files),
            hint="; ".join(writer.notes()) or "there is no example at all",
        )


class _Writer:
    """Takes examples one after another, and writes them as questions.

    A question that stands in several examples is one, with the passages of all of them. Memory
    grows by what a store's `open_or_build` says.

    Args:
        folder: where to.
        examples: an empty file for a line of each example.
        ids: an empty file for the id of each distinct passage, as its file gives it.
    """

    def __init__(self, folder: Path, examples: IO[bytes], ids: IO[bytes]) -> None:
        self._folder = folder
        self._lines, self._ids = examples, ids
        self._line_borders = array("q", [0])
        self._questions = array("q")  # of each example
        self._positions: dict[bytes, int] = {}  # of questions, by what they ask
        self._row_of: dict[bytes, int] = {}  # by content id
        self._keys = array("Q")  # of each row
        self._slots, self._rows = array("q"), array("q")  # question and kind, and row, of each use
        self._first_again = ""
        self._num_left_out = 0
        self._left_out: list[str] = []

    @property
    def num_examples(self) -> int:
        """How many have been taken."""
        return len(self._questions)

    def add(self, example: SupervisedExample) -> Iterator[Passage]:
        """Take an example; yield its passages that are new, under their content's id."""
        line = _line(example.question, example.answers)
        self._lines.write(line)
        self._line_borders.append(self._line_borders[-1] + len(line))
        asked = bytes.fromhex(fingerprint(comparable(example.question)))
        question = self._positions.setdefault(asked, len(self._positions))
        self._questions.append(question)
        if len(self._questions) > len(self._positions) and not self._first_again:
            self._first_again = example.question
        kinds = (example.positives, example.hard_negatives, example.negatives)
        for kind, passages in enumerate(kinds):
            for passage in passages:
                content = content_id(passage.title, passage.text)
                row = self._row_of.get(bytes.fromhex(content))
                if row is None:
                    row = self._row_of[bytes.fromhex(content)] = len(self._row_of)
                    self._keys.append(_key(passage))
                    self._ids.write(json.dumps(passage.passage_id).encode() + b"\n")
                    yield replace(passage, passage_id=content)
                self._slots.append(KINDS * question + kind)
                self._rows.append(row)

    def leave_out(self, where: str) -> None:
        """Count an example without a positive."""
        self._num_left_out += 1
        self._left_out += [where] * (len(self._left_out) < _NUM_SHOWN)

    def finish(self) -> _Sizes:
        """Write the files of the store, but for the passages."""
        digest = hashlib.blake2b(digest_size=16)

        def write(name: str, blocks: Iterable[bytes]) -> int:
            size = 0
            with open(self._folder / name, "wb") as file:
                for block in blocks:
                    digest.update(block)
                    file.write(block)
                    size += len(block)
            return size

        borders = array("q", [0])
        question_bytes = write("questions.jsonl", self._merged_lines(borders))
        write("question_borders.bin", [borders.tobytes()])
        rows, row_borders = self._merged_rows()
        write("rows.bin", [rows.tobytes()])
        write("row_borders.bin", [row_borders.tobytes()])
        write("keys.bin", [self._keys.tobytes()])
        return _Sizes(len(self._positions), len(rows), question_bytes, digest.hexdigest())

    def _merged_lines(self, borders: array[int]) -> Iterator[bytes]:
        """Yield the line of each question, with the answers of all its examples."""
        questions = np.frombuffer(self._questions, dtype=np.int64)
        order = np.argsort(questions, kind="stable").tolist()
        for _, examples in groupby(order, key=self._questions.__getitem__):
            found = [json.loads(self._example_line(one)) for one in examples]
            answers = dict.fromkeys(answer for _, own in found for answer in own)
            line = _line(found[0][0], tuple(answers) if len(found) > 1 else found[0][1])
            borders.append(borders[-1] + len(line))
            yield line

    def _example_line(self, example: int) -> bytes:
        start, stop = self._line_borders[example : example + 2]
        self._lines.seek(start)
        return self._lines.read(stop - start)

    def _merged_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the rows of each question by kind, each row once, and where they begin."""
        slots, rows = (np.frombuffer(one, dtype=np.int64) for one in (self._slots, self._rows))
        _, firsts = np.unique(slots * len(self._row_of) + rows, return_index=True)
        firsts.sort()
        slots, rows = slots[firsts], rows[firsts]
        sizes = np.bincount(slots, minlength=KINDS * len(self._positions))
        ordered = rows[np.argsort(slots, kind="stable")].astype("<i8")
        return ordered, np.concatenate([[0], np.cumsum(sizes)]).astype("<i8")

    def notes(self) -> list[str]:
        """Return what a user must know of the examples, a sentence each."""
        notes = []
        total = self.num_examples + self._num_left_out
        if self._num_left_out:
            more = ", …" if self._num_left_out > len(self._left_out) else ""
            notes.append(
                f"{self._num_left_out:,} of {total:,} examples have no positive passage and are "
                f"left out ({', '.join(self._left_out)}{more})"
            )
        if self._first_again:
            num_again = self.num_examples - len(self._positions)
            notes.append(
                f"{num_again:,} of {total:,} examples ask what one before them asks, such as "
                f"{shown(self._first_again)}: they are one question, with the passages of all of "
                f"them; {len(self._positions):,} questions"
            )
        return notes

    def repeated_ids(self, contexts: PassageStore) -> list[str]:
        """Return a note on ids that stand for several texts, none where there are none.

        Args:
            contexts: the passages, by row.
        """
        self._ids.seek(0)
        ids = array("Q", (int(fingerprint(line.decode())[:16], 16) for line in self._ids))
        hashes = np.frombuffer(ids, dtype=np.uint64)
        order = np.lexsort((np.frombuffer(self._keys, dtype=np.uint64), hashes))
        keys = np.frombuffer(self._keys, dtype=np.uint64)[order]
        again = (hashes[order][1:] == hashes[order][:-1]) & (keys[1:] != keys[:-1])
        if not again.any():
            return []
        place = int(np.flatnonzero(again)[0])
        first, second = (contexts[int(row)].text for row in sorted(order[place : place + 2]))
        self._ids.seek(0)
        name = json.loads(next(islice(self._ids, int(order[place]), None)))
        count = len(np.unique(hashes[order][1:][again]))
        return [
            f"{count:,} passage id{'s' * (count > 1)} stand{'s' * (count == 1)} for several texts, "
            f"such as {shown(name)} for {shown(first)} and {shown(second)}: a passage is its id "
            "and its text, so these are different passages"
        ]


class _Sizes(NamedTuple):
    """What was written, and a fingerprint of it."""

    num_questions: int
    num_rows: int
    question_bytes: int
    fingerprint: str


def _line(question: str, answers: Sequence[str]) -> bytes:
    return json.dumps([question, answers], ensure_ascii=False).encode() + b"\n"


def _key(passage: Passage) -> int:
    """Return what stands for a passage: its id and its text, or its title where it has no text."""
    text = passage.text if passage.text.strip() else passage.title
    return int(fingerprint(passage.passage_id, text)[:16], 16)
