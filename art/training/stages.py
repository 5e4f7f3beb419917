"""Several runs in one file, each starting from the retriever of the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from art import distributed
from art.config import Stage
from art.files import link
from art.training.checkpoints import TrainingResult
from art.training.interruption import Interruption
from art.training.loop import train
from art.training.run_folder import RunFolder


def train_stages(
    stages: Sequence[Stage],
    *,
    begin: Callable[[Stage], None],
    end: Callable[[Stage, TrainingResult, bool], None],
    interruption: Interruption | None = None,
) -> None:
    """Run the stages of a file one after another; a killed one goes on, a finished one is kept.

    Args:
        stages: from `read_stages`.
        begin: told of each stage before it runs, on the main process.
        end: told of each stage, its result, and whether it was finished before, there too.
        interruption: as for `train`.

    Raises:
        ArtError: as for `train`.
    """
    for stage in stages:
        # Before they have met, each process takes itself for the main one.
        distributed.start(cpu=stage.config.training.cpu)
        run = RunFolder.of(stage.config)
        finished_before = run.result_file.exists()
        if distributed.is_main():
            begin(stage)
        result = train(stage.config, interruption=interruption)
        if distributed.is_main():
            end(stage, result, finished_before)
            if stage.name is not None:
                link(run.path.parent / run.student, run.result_folder)
