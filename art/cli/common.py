"""What several commands share: options, and the processes of a job."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    import torch

    from art.data.rows import BadRows

Rows = TypeVar("Rows")

QuestionsFile = Annotated[
    Path, typer.Option("--questions", help="Questions: .txt, .csv, .tsv, .jsonl, or a BEIR folder.")
]
PassagesFile = Annotated[
    Path, typer.Option("--passages", help="Corpus: .tsv, .jsonl, a BEIR folder; or .gz.")
]
SkipBadRows = Annotated[
    bool,
    typer.Option("--skip-bad-rows", help="Go on without malformed rows, counted and listed."),
]
OnCpu = Annotated[bool, typer.Option("--cpu", help="Stay on the CPU where there is a GPU.")]


@contextmanager
def processes(cpu: bool) -> Iterator[torch.device]:
    """Join the other processes, if a launcher started several, and leave them at the end."""
    from art import distributed

    try:
        yield distributed.start(cpu=cpu)
    finally:
        distributed.stop()


def read_rows(
    read: Callable[[Path, BadRows | None], Rows], source: Path, *, skip_bad_rows: bool
) -> Rows:
    """Read a file with `read_questions`, `read_qrels` or `read_run`; say which rows are skipped."""
    from art.data.rows import BadRows

    bad_rows = BadRows()
    try:
        return read(source, bad_rows if skip_bad_rows else None)
    finally:
        notify_skipped(bad_rows)


def notify_skipped(bad_rows: BadRows) -> None:
    """Say on stderr which rows were skipped, if any; one process of a job says it."""
    if bad_rows.count and not int(os.environ.get("RANK", "0")):
        print(bad_rows.report(), file=sys.stderr)
