"""Signals that end a run: SIGTERM or SIGUSR1 from a scheduler, Ctrl-C from a person.

A step in progress is finished and saved first; of the scores made ahead, those of the block in
progress. Phases that go on by themselves from what they have finished (setting up, refreshing,
evaluating) end at once.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, TRY_AGAIN = 130, 75
"""Exit statuses: Ctrl-C's, and `EX_TEMPFAIL`, on which schedulers can queue the job again."""

_SIGNALS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)
]

# Schedulers signal every process of a job, and the launcher among them passes it on to the others:
# the second one that arrives so soon is the same one.
_ECHO_SECONDS = 1.0


class Interrupted(BaseException):
    """A signal ended the run; like `KeyboardInterrupt`, nothing on its way is meant to catch it.

    Args:
        signum: the signal.
        saved_step: the step that was finished and saved first; None where the run ended at once.
    """

    def __init__(self, signum: int, *, saved_step: int | None = None) -> None:
        self.reported_elsewhere = int(os.environ.get("RANK", "0")) > 0
        self.status = _status(signum)
        done = (
            "what was finished is kept"
            if saved_step is None
            else f"step {saved_step} is finished and saved"
        )
        name = signal.Signals(signum).name
        super().__init__(f"ended by {name}: {done}; the same command goes on from there")


class Interruption:
    """Whether a signal has asked this process to end, and whether it has to wait for a step.

    Args:
        outlived: the process goes on when the run has ended, as a notebook's does: Ctrl-C alone is
            ours, a second one ends the run at once but not the process, and the handler that was
            there comes back in any case.

    Attributes:
        signum: the signal that came, None before.
    """

    def __init__(self, *, outlived: bool = False) -> None:
        self.signum: int | None = None
        self._outlived = outlived
        self._came_at = 0.0
        self._waiting = False
        self._process = os.getpid()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals in this block; only the main thread can.

        The handlers that were there come back, unless a signal came: this process is then on its
        way out, and an echo must not cut that short.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        ours = [signal.SIGINT] if self._outlived else _SIGNALS
        before = {signum: signal.signal(signum, self._handle) for signum in ours}
        try:
            yield
        finally:
            if self.signum is None or self._outlived:
                for signum, handler in before.items():
                    signal.signal(signum, handler)

    @contextmanager
    def after_the_step(self) -> Iterator[None]:
        """Let signals wait in this block: it looks at `signum` after every step."""
        with self._waits(True):
            yield

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Let signals end this block, which may lie in one where they wait.

        Raises:
            Interrupted: one came, or has been waiting.
        """
        with self._waits(False):
            if self.signum is not None:
                raise Interrupted(self.signum)
            yield

    @contextmanager
    def _waits(self, waiting: bool) -> Iterator[None]:
        before, self._waiting = self._waiting, waiting
        try:
            yield
        finally:
            self._waiting = before

    def _handle(self, signum: int, _: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked process is no part of the run
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        elif self.signum is None:
            self.signum, self._came_at = signum, time.monotonic()
            if not self._waiting:
                raise Interrupted(signum)
        elif time.monotonic() - self._came_at > _ECHO_SECONDS:
            if self._outlived:
                raise Interrupted(signum)
            os._exit(_status(signum))


def _status(signum: int) -> int:
    return INTERRUPTED if signum == signal.SIGINT else TRY_AGAIN
