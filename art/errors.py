"""Messages for the user: the one family of exceptions meant for them, and lines on the screen.

What is said on the screen while work goes on is a record of the logger `art`, whose handler writes
it to stderr: a program around this one can collect the records, or take the handler away.
"""

from __future__ import annotations

import logging
import os
import reprlib
import sys
from pathlib import Path
from typing import Any

_MOST_CHARACTERS = 1000

_shown = reprlib.Repr()
_shown.maxstring = _shown.maxlong = _shown.maxother = 60


def one_line(text: str) -> str:
    """Return a text for a terminal: short, without line breaks, what is unprintable escaped."""
    text = " ".join(text.split())
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[: _MOST_CHARACTERS // 2]} … {text[-_MOST_CHARACTERS // 4 :]}"
    return text if text.isprintable() else "".join(map(_printable, text))


def first_line(error: Exception) -> str:
    """Return the first line that an error says, without a full stop."""
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), "")


def _printable(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]


def shown(value: Any) -> str:
    """Return any value as a few words of a message, however long or deep it is."""
    return _shown.repr(value)


class ArtError(Exception):
    """Something the user can repair: what is wrong, where, and what to do about it.

    The command line prints it as one line and exits with status 1; everything else that escapes is
    a bug and keeps its traceback.

    Args:
        what: what is wrong, as one sentence without the final full stop.
        where: the place: a path, `path:line`, or a dotted config path.
        hint: what to do about it, as one sentence without the final full stop.
    """

    def __init__(
        self, what: str, *, where: str | Path | None = None, hint: str | None = None
    ) -> None:
        # Set where another process of the job says it already.
        self.reported_elsewhere = False
        self.what = one_line(what)
        self.where = None if where is None else one_line(str(where))
        self.hint = None if hint is None else one_line(hint)
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.what}{advice}"


class DataError(ArtError):
    """A corpus, question, relevance or result file that cannot be read as what it should be."""


class RowError(DataError):
    """A malformed row of a data file; readers that are asked to skip such rows go on behind it."""

    ADVICE = "repair it, or skip such rows with --skip-bad-rows, in training data.skip_bad_rows"

    def __init__(
        self, what: str, *, where: str | Path | None = None, hint: str | None = None
    ) -> None:
        super().__init__(what, where=where, hint=hint or self.ADVICE)


class ConfigError(ArtError):
    """A setting that is unknown, malformed or contradicts another."""


class ConfigFaults(ConfigError):
    """Every fault of a configuration at once, a line each.

    Args:
        faults: complete lines, each with its dotted path, what is wrong and what to do.
    """

    def __init__(self, faults: list[str]) -> None:
        self.faults = [one_line(fault) for fault in faults]
        super().__init__("; ".join(self.faults))

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return self.faults[0]
        return f"{len(self.faults)} settings are wrong:\n" + "\n".join(
            f"  {fault}" for fault in self.faults
        )


class MismatchError(ArtError):
    """Two things that do not belong together, such as an index and the weights that search it."""


class CorruptionError(ArtError):
    """A file of ours whose contents are not what was written."""


_logger = logging.getLogger("art")


class _Screen(logging.Handler):
    """Writes records to stderr and leaves a progress bar that may be there in one piece."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm  # here, because not every command draws a bar

        try:
            tqdm.write(self.format(record), file=sys.stderr)
        except Exception:  # noqa: BLE001 (whatever it is, logging reports it and goes on)
            self.handleError(record)


_logger.addHandler(_Screen())
_logger.setLevel(logging.INFO)


def say(text: str) -> None:
    """Say something on the screen, as a record of the logger `art`.

    Args:
        text: one or several lines; what begins with `warning:` is logged as one.
    """
    _logger.log(logging.WARNING if text.startswith("warning:") else logging.INFO, "%s", text)


def notify(line: str) -> None:
    """Say in one line what was repaired or left out; the work goes on."""
    say(f"note: {line}")


_said: set[str] = set()


def notify_once(line: str) -> None:
    """Say a line as `notify` does, unless it was said before; one process of a job says it."""
    if line not in _said and not int(os.environ.get("RANK", "0")):
        _said.add(line)
        notify(line)
