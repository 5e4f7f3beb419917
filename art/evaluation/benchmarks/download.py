"""Files of the web: resumed where they broke off, and checked before they have their names.

What has come so far is beside the file as `.NAME.part`, with a note of which state of the server's
file it is the beginning of. A later call goes on behind it if the server still has that state, and
begins again if it has another or does not say.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path

from tqdm import tqdm

from art.errors import ArtError, notify
from art.files import cannot_write, fsync_directory, read_blocks, read_json, write_json
from art.network import ConnectionLost, ServerReply, asked

_ATTEMPTS = 5  # without a byte between them
_PAUSE_SECONDS = 2.0
_BLOCK_BYTES = 4 << 20

_WHOLE, _PART, _NO_SUCH_PART = 200, 206, 416


def size_of(address: str) -> int | None:
    """Return the bytes of a file as its server states them; None where it does not.

    Raises:
        ArtError: nobody answers, there is no such file, or the address leads elsewhere.
    """
    with asked(address, method="HEAD") as answer:
        if answer.status in (404, 410):
            raise _refused(answer)
        return answer.length if answer.status == _WHOLE else None


def download(
    address: str,
    path: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    progress: bool = True,
) -> str:
    """Fetch a file of the web.

    Args:
        address: of the file.
        path: its name here, which it has once it is whole and right.
        size: bytes that it must have; None for as many as the server says.
        sha256: checksum that it must have; None where nobody has stated one.
        progress: whether to draw a bar.

    Returns:
        Its SHA-256.

    Raises:
        ConnectionLost: the connection broke again and again; what has come is kept.
        ArtError: the server refuses, the file is not what was stated, or it cannot be written.
    """
    part = _Part(address, path)
    attempts = 0
    while True:
        before = part.size
        try:
            total = _receive(part, progress=progress)
            break
        except ConnectionLost as error:
            attempts = 1 if part.size > before else attempts + 1
            if attempts >= _ATTEMPTS:
                raise
            notify(f"{error.where}: {error.what}; {part.size:,} bytes have come, asking again")
            time.sleep(_PAUSE_SECONDS * attempts)
    found = part.sha256()
    for what, stated, is_there in (
        ("bytes", total if size is None else size, part.size),
        ("SHA-256", sha256, found),
    ):
        if stated is not None and stated != is_there:
            part.delete()
            raise ArtError(
                f"not the file that was meant: {what} {is_there}, stated {stated}; deleted",
                where=address,
                hint="fetch it again; if it is the same then, do not use it",
            )
    part.finish()
    return found


def _receive(part: _Part, *, progress: bool) -> int | None:
    """Append what is missing; return the bytes that the whole file has, None where unknown."""
    with asked(part.address, headers=part.request()) as answer:
        if answer.status == _NO_SUCH_PART:  # it was whole already, or the server's is shorter now
            total = _total(answer)
            if total == part.size:
                return total
            part.delete()
            raise ConnectionLost("is another file now", where=part.address)
        if answer.status not in (_WHOLE, _PART):
            raise _refused(answer)
        start = _start(answer) if answer.status == _PART else 0
        if start not in (0, part.size):
            part.delete()
            raise ConnectionLost("another part came than was asked for", where=part.address)
        total = _total(answer) if answer.status == _PART else answer.length
        part.receive(answer, start, total, progress=progress)
    if total is not None and part.size < total:
        raise ConnectionLost(f"ended after {part.size:,} of {total:,} bytes", where=part.address)
    return total


def _refused(answer: ServerReply) -> ArtError:
    what = "there is no such file" if answer.status in (404, 410) else "the server refuses"
    hint = "the address may have changed: fetch it by hand"
    return ArtError(f"{what} (status {answer.status})", where=answer.address, hint=hint)


def _start(answer: ServerReply) -> int:
    found = re.match(r"bytes (\d+)-", answer.headers.get("content-range", ""))
    return int(found[1]) if found else -1


def _total(answer: ServerReply) -> int | None:
    found = re.search(r"/(\d+)$", answer.headers.get("content-range", ""))
    return int(found[1]) if found else None


class _Part:
    """What has come of a file so far.

    Args:
        address: of the file.
        path: its name once it is whole.
    """

    def __init__(self, address: str, path: Path) -> None:
        self.address = address
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._note = path.with_name(f".{path.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that have come."""
        return self._part.stat().st_size if self._part.exists() else 0

    def request(self) -> dict[str, str]:
        """Return the headers that ask for what is missing, or for the whole file."""
        state = self._state()
        if not self.size or state is None:
            return {}
        # Where the server has another state now, it sends the whole file.
        return {"Range": f"bytes={self.size}-", "If-Range": state}

    def _state(self) -> str | None:
        if not self._note.exists():
            return None
        note = read_json(self._note)
        is_it = isinstance(note, dict) and note.get("address") == self.address
        state = note.get("state") if is_it else None
        return state if isinstance(state, str) else None

    def receive(
        self, answer: ServerReply, start: int, total: int | None, *, progress: bool
    ) -> None:
        """Write the contents of an answer behind the first `start` bytes."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not start:
                self.delete()
                # A weak tag says that two states are alike, not that they are the same bytes.
                tag = answer.headers.get("etag", "")
                state = tag if tag.startswith('"') else answer.headers.get("last-modified")
                write_json(self._note, {"address": self.address, "state": state})
            bar = tqdm(
                desc=self._path.name,
                initial=start,
                total=total,
                unit="B",
                unit_scale=True,
                disable=not progress,
            )
            with open(self._part, "ab") as file, bar:
                for block in answer.blocks():
                    file.write(block)
                    bar.update(len(block))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(error, self._path) from error

    def sha256(self) -> str:
        """Return the checksum of what has come."""
        digest = hashlib.sha256()
        for block in read_blocks(self._part, _BLOCK_BYTES):
            digest.update(block)
        return digest.hexdigest()

    def finish(self) -> None:
        """Give the file its name."""
        try:
            os.replace(self._part, self._path)
            self._note.unlink(missing_ok=True)
            fsync_directory(self._path.parent)
        except OSError as error:
            raise cannot_write(error, self._path) from error

    def delete(self) -> None:
        """Forget what has come."""
        self._part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
