"""A run folder on disk: what lies where in it, and who may work there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from art import distributed
from art.config import READER_FOLDER, RETRIEVER_FOLDER, Config, differences
from art.errors import ArtError, CorruptionError, MismatchError, shown
from art.files import lock, remove_leftovers, write_text
from art.teacher.log_file import LOG_NAME
from art.training.settings import read_config

_STEP = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class RunFolder:
    """Names of everything in a run folder.

    Attributes:
        path: of the folder.
        student: what is trained there, `retriever` or `reader`.
    """

    path: Path
    student: str = RETRIEVER_FOLDER

    @classmethod
    def of(cls, config: Config) -> RunFolder:
        """Return the folder of the run that settings describe."""
        return cls(Path(config.output.folder), config.student)

    @property
    def config_file(self) -> Path:
        """The resolved settings."""
        return self.path / "config.yaml"

    @property
    def metrics_file(self) -> Path:
        """One line per logged step, refresh and evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def scores_file(self) -> Path:
        """Every score the teacher gave."""
        return self.path / LOG_NAME

    @property
    def result_folder(self) -> Path:
        """What was trained, an ordinary folder."""
        return self.path / self.student

    @property
    def result_file(self) -> Path:
        """The metrics of a finished run; its existence says that the run is finished."""
        return self.path / "result.json"

    def rankings_file(self, step: int) -> Path:
        """Return the place of what the evaluated questions found at a step."""
        return self.path / "evaluations" / f"step-{step:08d}.jsonl"

    @property
    def reranker_scores_file(self) -> Path:
        """The scores of a reranker that is blended in."""
        return self.path / "reranker-scores.log"

    @property
    def start_index_folder(self) -> Path:
        """The index of step 0, of the retriever before training."""
        return self.index_folder(f"step-{0:08d}")

    def index_folder(self, name: str) -> Path:
        """Return the place of an index.

        Raises:
            CorruptionError: the name, which a checkpoint tells, would leave the run's folder.
        """
        if Path(name).name != name or name in ("", ".."):
            raise CorruptionError(
                f"names an index outside the run: {shown(name)}",
                where=self.path / "checkpoints",
                hint="remove that checkpoint",
            )
        return self.path / "index" / name

    def checkpoint_folder(self, step: int) -> Path:
        """Return the place of the checkpoint of a step."""
        return self.path / "checkpoints" / f"step-{step:08d}"

    def checkpoint_student(self, step: int) -> Path:
        """Return the place of what is trained in the checkpoint of a step."""
        return self.checkpoint_folder(step) / self.student

    def best_folder(self, step: int) -> Path:
        """Return the place of the best weights, which are those of this step."""
        return self.path / "checkpoints" / f"best-{step:08d}"

    @contextmanager
    def held_by_main(self) -> Iterator[None]:
        """Keep a second run out of this folder.

        Raises:
            ArtError: another run is working in it; every process raises it.
        """
        with ExitStack() as stack:
            with distributed.fail_together():
                if distributed.is_main():
                    held = lock(self.path / ".lock", wait=False, holder="another run")
                    stack.enter_context(held)
            yield

    def claim(self, config: Config) -> None:
        """Write the settings, or check that the folder's run had the same; clear leftovers.

        Raises:
            MismatchError: the folder belongs to a run with other settings; names each of them.
        """
        if not distributed.is_main():
            return
        self.write_config(self.refuse_other_settings(config))
        for folder in (self.path, self.path / "checkpoints", self.path / "evaluations"):
            remove_leftovers(folder)

    def write_config(self, config: Config) -> None:
        """Write the settings."""
        write_text(self.config_file, config.to_yaml())

    def refuse_other_settings(self, config: Config) -> Config:
        """Check that the folder's run, if there is one, had the same settings.

        Returns:
            The settings, with what that run's retriever took from its start in place of nulls.

        Raises:
            MismatchError: it had others; names each of them.
        """
        # Before the first checkpoint there is nothing that other settings could spoil.
        if self.config_file.exists() and self.steps():
            written = read_config(self.config_file)
            if written.retriever is not None and config.retriever is not None:
                config = config.with_retriever(written.retriever.model_dump())
            changed = differences(written, config)
            if changed:
                raise MismatchError(
                    "this run was started with other settings: " + "; ".join(changed),
                    where=self.path,
                    hint="restore them to go on, or choose another output.folder",
                )
        return config

    def steps(self) -> list[int]:
        """Return the steps with a complete checkpoint, in order."""
        folder = self.path / "checkpoints"
        names = (_STEP.fullmatch(entry.name) for entry in folder.glob("step-*"))
        return sorted(int(name[1]) for name in names if name)


def step_of(name: str) -> int:
    """Return the step in the name of a checkpoint or an index."""
    found = _STEP.fullmatch(name)
    assert found, name
    return int(found[1])


def finished_retriever(run: Path) -> Path | None:
    """Return the retriever of a run folder, None for the folder of something else.

    Raises:
        ArtError: the run has not finished, or trained something else.
    """
    from art.retriever.settings import MANIFEST  # here: `art report` starts without transformers

    return _finished(run, RETRIEVER_FOLDER, MANIFEST)


def finished_reader(run: Path) -> Path | None:
    """Return the reader of a run folder; else as `finished_retriever`."""
    from art.answering.reader import MANIFEST

    return _finished(run, READER_FOLDER, MANIFEST)


def _finished(run: Path, wanted: str, manifest: str) -> Path | None:
    if (run / wanted / manifest).is_file():
        return run / wanted
    of_run = RunFolder(run)
    for other in {RETRIEVER_FOLDER, READER_FOLDER} - {wanted}:
        if (run / other).is_dir() and of_run.result_file.is_file():
            raise ArtError(f"this run trained a {other}, not a {wanted}", where=run)
    if of_run.config_file.is_file() and of_run.steps():
        raise ArtError(
            f"this run has not finished, so it has no {wanted} yet",
            where=run,
            hint="train it to the end: the same call or command goes on",
        )
    return None
