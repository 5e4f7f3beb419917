"""A run read from its folder, whether it is finished, killed or still going on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from art.errors import ArtError, CorruptionError
from art.evaluation.metrics import metric
from art.evaluation.rankings import KeptRanking, read_rankings, share_interval
from art.evaluation.statistics import PairedTest, mcnemar
from art.files import read_text
from art.training.checkpoints import TrainingResult, load_state
from art.training.progress import metrics_of
from art.training.run_folder import RunFolder
from art.training.selection import primary_metric

Record = Mapping[str, Any]

_PHASES = ("retrieve", "score", "read", "learn", "update", "save")


@dataclass(frozen=True)
class History:
    """A run as its folder has it.

    Attributes:
        name: that tells it from the others of a report.
        folder: of the run.
        settings: section → setting → value.
        settings_text: the same as the file has it.
        records: kind (`start`, `train`, `probe`, `refresh`, `evaluation`; `BM25` and `fused` with
            `evaluation.fused`) → lines of `metrics.jsonl`.
        finished: whether it ended by itself.
        metric: that chooses the step.
        best_step: the chosen step, of an unfinished run the best so far.
        before: what the questions found at step 0; None where the run did not keep it.
        after: what they found at the chosen step; None where the run did not keep it.
        fingerprints: of what the run read.
        versions: of the libraries that shape the numbers.
    """

    name: str
    folder: Path
    settings: Mapping[str, Mapping[str, Any]]
    settings_text: str
    records: Mapping[str, Sequence[Record]]
    finished: bool
    metric: str
    best_step: int
    before: list[KeptRanking] | None
    after: list[KeptRanking] | None
    fingerprints: Mapping[str, str]
    versions: Mapping[str, str]

    @property
    def last_step(self) -> int:
        """The last step that the metrics know of."""
        return max(int(record["step"]) for lines in self.records.values() for record in lines)

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics of each evaluation."""
        return list(metrics_of(self.records["evaluation"][0]))

    def evaluation(self, step: int) -> Record:
        """Return the evaluation of a step."""
        return self._of_step("evaluation", step)

    def words(self) -> Record | None:
        """Return the metrics of BM25; None where they were not told."""
        return self.records["BM25"][0] if "BM25" in self.records else None

    def fused(self, step: int) -> Record | None:
        """Return the metrics of the retriever of a step and BM25 fused; None where not told."""
        return self._of_step("fused", step) if "fused" in self.records else None

    def _of_step(self, kind: str, step: int) -> Record:
        return next(one for one in self.records[kind] if one["step"] == step)

    def interval(self, record: Record, name: str) -> tuple[float, float] | None:
        """Return the 95 % interval of a metric of an evaluation; None where it has none."""
        return share_interval(name, record[name], record["num_questions"], self.before)

    def paired_test(self) -> tuple[str, PairedTest] | None:
        """Return the name of a metric, top-5 if it is there, and whether training changed it.

        The chosen step comes first and step 0 second; None without labels or rankings.
        """
        name = "top_5" if "top_5" in self.metrics else self.metric
        if self.before is None or self.after is None or not metric(name).has_interval:
            return None
        pairs = [
            (after.metrics[name] == 1, before.metrics[name] == 1)
            for before, after in zip(self.before, self.after, strict=True)
            if before.metrics[name] is not None
        ]
        after, before = zip(*pairs, strict=True)
        return name, mcnemar(after, before)

    def seconds_by_phase(self) -> dict[str, float]:
        """Return the seconds of the whole run by phase, step 0's refresh and evaluation included.

        Where not every step was logged, the others count as those do on average; the save after the
        last step is in no line.
        """
        trained = self.records["train"]
        steps = max((record["step"] for record in trained), default=0)
        seconds = {
            name: sum(record.get(f"{name}_seconds", 0.0) for record in trained)
            * (steps / len(trained))
            for name in phases(trained)
        }
        spent = {"probe": "refresh", "refresh": "refresh", "evaluation": "evaluate"}
        for kind, name in spent.items():
            there = sum(record["seconds"] for record in self.records[kind])
            seconds[name] = seconds.get(name, 0.0) + there
        return seconds


def phases(trained: Sequence[Record]) -> list[str]:
    """Return the names of the phases of the steps, in the order of a step."""
    names = {name: None for record in trained for name in record if name.endswith("_seconds")}
    found = [name.removesuffix("_seconds") for name in names]
    return sorted(found, key=lambda name: _PHASES.index(name) if name in _PHASES else len(_PHASES))


def read_histories(folders: Sequence[Path]) -> list[History]:
    """Read runs; each is named by its folder, or by its whole path where others are named so too.

    Raises:
        ArtError: as for `read_history`.
    """
    names = [folder.absolute().name for folder in folders]
    return [
        read_history(folder, name if names.count(name) == 1 else str(folder))
        for folder, name in zip(folders, names, strict=True)
    ]


def read_history(folder: Path, name: str) -> History:
    """Read what a run has written so far.

    Raises:
        ArtError: the folder is none of a run, the run has not been evaluated yet, or a file of it
            is damaged; names the file and the line.
    """
    run = RunFolder(folder)
    if not run.config_file.exists():
        raise ArtError(
            "not a run folder: it has no config.yaml",
            where=folder,
            hint="name the output.folder of `art train`",
        )
    settings_text = read_text(run.config_file)
    records = _read_metrics(run.metrics_file)
    if not records["evaluation"]:
        raise ArtError("nothing has been evaluated yet", where=folder, hint="wait for step 0")
    result = TrainingResult.read(run.result_file) if run.result_file.exists() else None
    if result is not None:
        metric, best_step = result.metric, result.best_step
        fingerprints, versions = result.fingerprints, result.versions
    else:
        metric, best_step = _best_so_far(records["evaluation"])
        steps = run.steps()
        state = load_state(run, steps[-1]) if steps else None
        fingerprints = state.fingerprints if state else {}
        versions = state.versions if state else {}
    evaluated = {record["step"] for record in records["evaluation"]}
    if not {0, best_step} <= evaluated:
        raise CorruptionError(
            f"lacks the evaluation of step {best_step if 0 in evaluated else 0}",
            where=run.metrics_file,
        )
    before, after = _read_rankings(run, best_step)
    return History(
        name=name,
        folder=folder,
        settings=_settings(settings_text, run.config_file),
        settings_text=settings_text,
        records=records,
        finished=result is not None,
        metric=metric,
        best_step=best_step,
        before=before,
        after=after,
        fingerprints=fingerprints,
        versions=versions,
    )


def _settings(text: str, path: Path) -> dict[str, dict[str, Any]]:
    # Not as settings of this version: a run of another version has its report too.
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CorruptionError(f"not YAML: {error}", where=path) from error
    sections = document.values() if isinstance(document, dict) else [None]
    if not all(isinstance(section, dict) for section in sections):
        raise CorruptionError("not the sections of settings that a run writes", where=path)
    return dict(document)


def _read_metrics(path: Path) -> dict[str, list[Record]]:
    kinds = ("start", "train", "probe", "refresh", "evaluation")
    records: dict[str, list[Record]] = {kind: [] for kind in kinds}
    lines = read_text(path).split("\n") if path.exists() else []
    # What stands behind the last line break is still being written.
    for number, line in enumerate(lines[:-1], start=1):
        try:
            record = json.loads(line)
            others = records.setdefault(record["kind"], [])
            whole = isinstance(record["step"], int) and _is_like(record, others)
        except (ValueError, TypeError, KeyError):
            whole = False
        if not whole:
            raise CorruptionError("not a line of metrics", where=f"{path}:{number}")
        others.append(record)
    return records


def _is_like(record: Record, others: Sequence[Record]) -> bool:
    # Phases may come later (the first save of a run is after some steps); metrics do not.
    return record["kind"] != "evaluation" or not others or record.keys() == others[0].keys()


def _best_so_far(evaluations: Sequence[Record]) -> tuple[str, int]:
    name = primary_metric(list(metrics_of(evaluations[0])))
    best = evaluations[0]
    for record in evaluations[1:]:
        if metric(name).is_better(record[name], best[name]):  # the first of equals
            best = record
    return name, best["step"]


def _read_rankings(
    run: RunFolder, best_step: int
) -> tuple[list[KeptRanking] | None, list[KeptRanking] | None]:
    before, after = (
        read_rankings(path) if path.exists() else None
        for path in (run.rankings_file(0), run.rankings_file(best_step))
    )
    asked = [[one.id for one in found] for found in (before, after) if found is not None]
    if any(ids != asked[0] for ids in asked):
        raise CorruptionError(
            "is about other questions than step 0", where=run.rankings_file(best_step)
        )
    return before, after
