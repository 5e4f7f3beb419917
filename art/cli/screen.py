"""The standard output and error of a command: nothing that is printed there raises.

A text may hold what the encoding of the output lacks (a sign, a letter, the bytes of a file name
that is not UTF-8), and whoever reads the output may leave before its end (`| head`). Neither may
end a job whose results are files.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any, BinaryIO, cast

from art.errors import ArtError

# Signs of our own lines and tables, where the encoding of the output lacks them.
_SIGNS = {
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "→": "->",
    "↔": "<->",
    "×": "x",
    "·": ".",
    "≤": "<=",
    "≥": ">=",
    "τ": "tau",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}
_HANDLER = "art.screen"
# What a Python without other wishes of its user does with such a text; all else was asked for.
_OWN = ("strict", "surrogateescape", "backslashreplace")


def prepare() -> None:
    """Let every text be printed, and let work go on where what it prints cannot be written."""
    codecs.register_error(_HANDLER, _in_plain_signs)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started the command
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        if not isinstance(stream, io.TextIOWrapper):
            continue
        errors = stream.errors or _HANDLER
        errors = _HANDLER if errors in _OWN else errors
        if _is_of_the_process(stream, name):
            setattr(sys, name, _lasting(stream, errors))
        else:
            stream.reconfigure(errors=errors)


def is_read() -> bool:
    """Return whether what is printed still reaches someone, as far as is known."""
    return _fault() is None


def finish() -> None:
    """Write what is still buffered.

    Raises:
        ArtError: something could not be written, and not because its reader has left.
    """
    sys.stdout.flush()
    fault = _fault()
    if fault is not None and not isinstance(fault, BrokenPipeError):
        raise ArtError(f"cannot write: {fault.strerror or fault}", where="the standard output")


class _Lasting(io.FileIO):
    """A file descriptor that remembers the first fault of writing, and drops the rest."""

    fault: OSError | None = None

    def write(self, data: Any) -> int:
        """Write as long as that is possible."""
        if self.fault is None:
            try:
                return super().write(data)
            except OSError as error:
                self.fault = error
        return len(memoryview(data).cast("B"))


def _fault() -> OSError | None:
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # unbuffered, the buffer is the file itself
    return raw.fault if isinstance(raw, _Lasting) else None


def _is_of_the_process(stream: io.TextIOWrapper, name: str) -> bool:
    raw = getattr(stream.buffer, "raw", stream.buffer)
    return stream is getattr(sys, f"__{name}__") and type(raw) is io.FileIO


def _lasting(stream: io.TextIOWrapper, errors: str) -> io.TextIOWrapper:
    """Return a stream to the same place that takes what nobody reads."""
    stream.flush()
    raw = _Lasting(stream.fileno(), "wb", closefd=False)
    buffered = hasattr(stream.buffer, "raw")
    return io.TextIOWrapper(
        io.BufferedWriter(raw) if buffered else cast(BinaryIO, raw),
        encoding=stream.encoding,
        errors=errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    plain = [_SIGNS.get(one) or one.encode("ascii", "backslashreplace").decode() for one in lacking]
    return "".join(plain), error.end
