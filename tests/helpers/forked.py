"""The command line in processes forked from one warm parent, which has imported torch once.

A process can be told to strike itself with a signal at some call of some function, so that a kill
falls at a named point and not at a lucky moment.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import run
from processes import environments

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["accelerate", "faiss", "art.cli", "art.training.loop"])

_DURABLE = ("fsync", "replace", "rename")


@dataclass(frozen=True)
class Strike:
    """A signal that a process sends to itself instead of a call of a function.

    Attributes:
        owner: what holds the function, such as `art.training.trainer:Trainer`.
        name: the function's.
        call: which one, from 1.
        signum: the signal.
        rank: whose process.
    """

    owner: str
    name: str
    call: int
    signum: int = signal.SIGKILL
    rank: int = 0

    def __call__(self) -> None:
        if int(os.environ.get("RANK", "0")) != self.rank:
            return
        owner, calls = pkgutil.resolve_name(self.owner), []
        original = getattr(owner, self.name)

        def striking(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            if len(calls) == self.call:
                os.kill(os.getpid(), self.signum)
            return original(*args, **kwargs)

        setattr(owner, self.name, striking)


@dataclass(frozen=True)
class DurableCalls:
    """Count what makes a write last, and die right after one of them.

    Attributes:
        count_file: where the number of calls so far is kept.
        die_after: which call is the last, from 1; None to live on.
    """

    count_file: Path
    die_after: int | None = None

    def __call__(self) -> None:
        calls: list[str] = []
        for name in _DURABLE:
            setattr(os, name, self._counting(getattr(os, name), calls))

    def _counting(self, original: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            calls.append(original.__name__)
            self.count_file.write_text(str(len(calls)))
            if len(calls) == self.die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counting


@dataclass
class Forked:
    """A process under way.

    Attributes:
        process: of multiprocessing; a negative exit code is the signal that ended it.
        log: what it says.
    """

    process: Any
    log: Path

    def ended(self, timeout: float = 120) -> tuple[int, str]:
        """Wait for its end; return its status and what it said."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"still running after {timeout} s:\n{self.log.read_text()}")
        return self.process.exitcode, self.log.read_text()


def fork(
    words: Sequence[object],
    folder: Path,
    *,
    world_size: int = 1,
    before: Sequence[Callable[[], None]] = (),
) -> list[Forked]:
    """Start `art` with these words, a process per rank.

    Args:
        words: after `art`.
        folder: where what they say is written.
        world_size: W; 1 is a process without a launcher.
        before: called in each process first; must be picklable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    forked = []
    launched = environments(world_size) if world_size > 1 else [dict(os.environ)]
    for rank, environment in enumerate(launched):
        log = folder / f"said-{rank}-of-{world_size}.txt"
        arguments = ([str(word) for word in words], log, environment, list(before))
        process = _context.Process(target=_child, args=arguments)
        process.start()
        forked.append(Forked(process, log))
    return forked


def finish(
    words: Sequence[object],
    folder: Path,
    *,
    world_size: int = 1,
    before: Sequence[Callable[[], None]] = (),
) -> list[tuple[int, str]]:
    """Run `art` with these words to its end; return each rank's status and what it said."""
    started = fork(words, folder, world_size=world_size, before=before)
    return [one.ended() for one in started]


def call(function: Callable[..., Any], *arguments: Any, world_size: int) -> list[Any]:
    """Call a function in the processes of one job; return what each returned or raised, by rank.

    Args:
        function: picklable, as its arguments are: of a module that other processes find.
        world_size: W.
    """
    started = []
    for environment in environments(world_size):
        ours, theirs = _context.Pipe(duplex=False)
        child = _context.Process(target=_call, args=(theirs, environment, function, arguments))
        child.start()
        theirs.close()  # so that the end of the child is seen here
        started.append((child, ours))
    results = [ours.recv() for _, ours in started]
    for child, _ in started:
        child.join()
    return results


def _call(
    pipe: Any, environment: dict[str, str], function: Callable[..., Any], arguments: Sequence[Any]
) -> None:
    from art import distributed

    _prepare(environment)
    distributed.start(cpu=True)
    try:
        result = function(*arguments)
    except Exception as error:  # noqa: BLE001 (the test looks at it)
        result = error
    pipe.send(result)
    distributed.stop()


def _prepare(environment: dict[str, str]) -> None:
    import torch

    os.environ.update(environment)
    torch.set_num_threads(1)


def _child(
    words: list[str], log: Path, environment: dict[str, str], before: list[Callable[[], None]]
) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    _prepare(environment)
    for prepare in before:
        prepare()
    sys.exit(run(*words))
