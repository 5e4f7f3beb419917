"""Writing the folder of a supervised store, which `supervised_store` describes, from its files."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

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
from art.data.records import content_id
from art.data.rows import BadRows
from art.errors import CorruptionError, DataError
from art.files import atomic_folder, file_state, fingerprint
from art.integrity import file_checksums

FORMAT = "supervised store 2"

_NUM_SHOWN = 3
_FILES = ("keys.bin", "rows.bin", "row_borders.bin", "questions.jsonl", "question_borders.bin")


class SupervisedManifest(SealedManifest):
    """What a folder holds, with a checksum of every block of its own files."""

    format: str
    files: list[str]
    num_questions: int
    num_rows: int
    question_bytes: int
    left_out: str
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
    return fingerprint(FORMAT, *states)


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
        with ExitStack() as opened:
            writer = _Writer(beside, opened)
            contexts = PassageStore.build(
                _new_contexts(source, writer, bad_rows),
                beside / "contexts",
                source=", ".join(source.files),
                progress=progress,
            )
        SupervisedManifest(
            format=FORMAT,
            files=list(source.files),
            num_questions=writer.num_questions,
            num_rows=writer.num_rows,
            question_bytes=writer.question_bytes,
            left_out=writer.note(),
            bad_rows=bad_rows,
            fingerprint=fingerprint(contexts.fingerprint, writer.fingerprint()),
            blocks={name: file_checksums(beside / name) for name in _FILES},
        ).write(beside / "manifest.json")


def _new_contexts(source: LabelledFiles, writer: _Writer, bad_rows: BadRows) -> Iterator[Passage]:
    """Write every example; yield each passage where it first stands."""
    for path in source.files:
        skipped = bad_rows if source.skip_bad_rows else None
        for where, example in read_supervised(path, skipped):
            if example.positives:
                yield from writer.add(example)
            else:
                writer.leave_out(where)
    if not writer.num_questions:
        raise DataError(
            "; ".join(filter(None, ["no example has a positive passage", bad_rows.report()])),
            where=", ".join(source.files),
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
