"""Broken copies of every kind of file that is read, and what must hold when they are.

A case is a good file, or folder of files, with one file made wrong. Reading it must succeed or
raise one line that names the file, in seconds; of a file of rows none may get lost. Case `number`
of `seed` is always the same one.
"""

from __future__ import annotations

import gzip
import random
import signal
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from input_samples import Fault, RowFile, Whole
from mutations import mutated

from art.data.rows import BadRows
from art.errors import ArtError, ConfigFaults

SECONDS = 5.0  # a case that takes longer hangs


@dataclass
class Tally:
    """What became of the cases."""

    cases: int = 0
    tracebacks: int = 0
    hangs: int = 0
    lost_rows: int = 0
    failures: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)

    def metrics(self) -> dict[str, int]:
        """Return the counts."""
        return {name: getattr(self, name) for name in ("cases", "tracebacks", "hangs", "lost_rows")}


class _Hang(BaseException):
    pass


def run_case(
    targets: list[RowFile | Whole],
    folder: Path,
    *,
    seed: int,
    number: int,
    tally: Tally,
    seconds: float = SECONDS,
) -> None:
    """Make one broken file and read it in so many seconds; count what goes wrong."""
    rng = random.Random(f"{seed} {number}")
    target = rng.choice(targets)
    tally.cases += 1
    try:
        with _time_limit(seconds):
            check = _check_rows if isinstance(target, RowFile) else _check_whole
            check(target, folder, rng, tally)
    except _Hang:
        tally.hangs += 1
        tally.failures.append(f"hang: {target.name}, seed {seed}, case {number}")
    except Fault as error:
        tally.lost_rows += 1
        tally.failures.append(f"fault: {target.name}, seed {seed}, case {number}: {error}")
    except Exception as error:  # noqa: BLE001 (this is what is looked for)
        tally.tracebacks += 1
        where = traceback.extract_tb(error.__traceback__)[-1]
        tally.failures.append(
            f"traceback: {target.name}, seed {seed}, case {number}: {type(error).__name__}: "
            f"{str(error)[:200]!r} at {where.filename}:{where.lineno}"
        )


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def hang(*_: object) -> None:
        raise _Hang

    # Seconds of this process, which a busy machine does not shorten; and of the timer, for waits.
    timers = ((signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 12))
    before = [signal.signal(number, hang) for number, _, _ in timers]
    for _, timer, times in timers:
        signal.setitimer(timer, seconds * times)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for (number, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


def _check_rows(target: RowFile, folder: Path, rng: random.Random, tally: Tally) -> None:
    data = mutated(target.sample, rng)
    packed = target.name.endswith(".gz") and rng.random() < 0.5
    if target.name.endswith(".gz") and not packed:  # the archive itself is broken
        data = mutated(gzip.compress(target.sample, mtime=0), rng)
    path = folder / target.name
    path.write_bytes(gzip.compress(data) if packed else data)
    check_rows(target, path, tally)


def check_rows(target: RowFile, path: Path, tally: Tally | None = None) -> None:
    """Read a file of rows as it is and without its bad rows; none may get lost either way.

    Raises:
        Fault: a row got lost, or a complaint does not say where or what to do.
    """
    refused = Tally() if tally is None else tally
    found: int | None = None
    try:
        found = target.read(path, None)
    except ArtError as error:
        check_complaint(error, path)
        refused.refused[target.name] += 1
    bad_rows = BadRows()
    try:
        kept = target.read(path, bad_rows)
    except ArtError as error:  # not a row but the whole file
        check_complaint(error, path)
        if found is not None:
            raise Fault(f"refused only where bad rows are skipped: {error}") from error
        return
    data = path.read_bytes()
    expected = target.count(_unpacked(data) if path.suffix == ".gz" else data)
    if found is not None and found != expected:
        raise Fault(f"{found} rows read, but there are {expected}")
    if kept + bad_rows.count != expected:
        raise Fault(f"{kept} rows read and {bad_rows.count} skipped, but there are {expected}")
    if len(bad_rows.complaints) != min(bad_rows.count, 10):
        raise Fault(f"{bad_rows.count} skipped, {len(bad_rows.complaints)} listed")
    if not all(one.startswith(f"{path}:") for one in bad_rows.complaints):
        raise Fault(f"a skipped row without its place: {bad_rows.complaints}")


def _unpacked(data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise Fault("a broken archive was read as if it were whole") from error


def _check_whole(target: Whole, folder: Path, rng: random.Random, tally: Tally) -> None:
    path = folder / target.name
    broken = rng.choice(sorted(target.files))
    for name, contents in target.files.items():
        file = path / name if name else path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(mutated(contents, rng) if name == broken else contents)
    try:
        target.read(path)
    except ArtError as error:
        check_complaint(error, path)
        tally.refused[target.name] += 1


def check_complaint(error: ArtError, path: Path) -> None:
    """Check that a complaint is a line that names the file and says what to do.

    Raises:
        Fault: it is not.
    """
    text = str(error)
    lines = error.faults if isinstance(error, ConfigFaults) else [text]
    for line in lines:
        if not line.isprintable() or len(line) > 2000:
            raise Fault(f"not one plain line: {line[:300]!r}")
        if str(path) not in line:
            raise Fault(f"does not name the file: {line[:300]!r}")
    if not isinstance(error, ConfigFaults) and not error.hint:
        raise Fault(f"does not say what to do: {text[:300]!r}")
