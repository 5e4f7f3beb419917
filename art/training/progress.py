"""What a run says while it runs: seconds by phase, one progress line, `metrics.jsonl`."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from art.errors import ArtError, say
from art.files import cannot_write


class PhaseTimer:
    """Seconds spent in named phases since the last reading.

    Args:
        device: whose queued work belongs to the phase that queued it.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._seconds: dict[str, float] = {}
        self._device = device

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Count the time of this block towards `phase`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            if self._device is not None and self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            elapsed = time.perf_counter() - start
            self._seconds[phase] = self._seconds.get(phase, 0.0) + elapsed

    def read(self) -> dict[str, float]:
        """Return the seconds by phase and start again from zero."""
        seconds, self._seconds = self._seconds, {}
        return seconds


class MetricsLog:
    """`metrics.jsonl`: one JSON object a line, cut back to its checkpoint when a run resumes.

    Args:
        path: the file, created if missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def num_bytes(self) -> int:
        """Size of the file; a checkpoint keeps it."""
        return self._path.stat().st_size if self._path.exists() else 0

    def cut_back(self, num_bytes: int) -> None:
        """Forget what was written after a checkpoint.

        Raises:
            ArtError: the file is shorter than the checkpoint says.
        """
        if self.num_bytes < num_bytes:
            raise ArtError(
                f"has {self.num_bytes} bytes, but the checkpoint was taken at {num_bytes}",
                where=self._path,
                hint="the file was changed by hand; start again in another run folder",
            )
        if self.num_bytes > num_bytes:
            os.truncate(self._path, num_bytes)

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append a line.

        Raises:
            ArtError: it cannot be written.
        """
        record = {"kind": kind, "step": step, **{k: _rounded(v) for k, v in values.items()}}
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())  # a checkpoint counts these bytes
        except OSError as error:
            raise cannot_write(error, self._path) from error

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Return all lines of a kind, in the order written."""
        if not self._path.exists():
            return []
        lines = self._path.read_text(encoding="utf-8").splitlines()
        return [record for line in lines if (record := json.loads(line))["kind"] == kind]


def metrics_of(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of a line about an evaluation, by name."""
    return {name: value for name, value in record.items() if name not in _NOT_METRICS}


_NOT_METRICS = ("kind", "step", "num_questions", "seconds")


def _rounded(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    # JSON has no word for what is not finite.
    return float(f"{value:.7g}") if math.isfinite(value) else None


class ProgressLine:
    """One tidy line with rate and remaining time, on the process that prints.

    Args:
        total: steps of the run.
        done: steps done before.
        enabled: whether this process prints.
    """

    def __init__(self, total: int, done: int, *, enabled: bool) -> None:
        self._bar = tqdm(
            total=total,
            initial=done,
            unit="step",
            disable=not enabled,
            dynamic_ncols=True,
            smoothing=0,  # the mean rate: the pairs of many steps are scored before the first
            bar_format="step {n_fmt}/{total_fmt} [{elapsed} < {remaining}, {rate_fmt}]{postfix}",
        )

    def step(self, **values: float) -> None:
        """Advance by one step and show these values."""
        self._bar.set_postfix_str(
            "  ".join(f"{name} {value:.3g}" for name, value in values.items()), refresh=False
        )
        self._bar.update()

    def say(self, text: str) -> None:
        """Print a line above the progress line."""
        if not self._bar.disable:
            say(text)

    def close(self) -> None:
        """Leave the line as it stands."""
        self._bar.close()
