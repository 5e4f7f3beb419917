"""What several commands share: options, and the processes of a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import torch

QuestionsFile = Annotated[
    Path, typer.Option("--questions", help="Questions: .txt, .jsonl, DPR .csv, or a BEIR folder.")
]
PassagesFile = Annotated[
    Path, typer.Option("--passages", help="Corpus: .tsv, .jsonl, a BEIR folder; or .gz.")
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
