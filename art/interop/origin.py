"""What is known of how a retriever was made: its start, its training, its data, its metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from art import files
from art.errors import ArtError
from art.evaluation.metrics import metric
from art.evaluation.rankings import read_rankings, share_interval
from art.retriever.settings import MANIFEST, RetrieverManifest
from art.training.checkpoints import TrainingResult
from art.training.methods import METHODS
from art.training.run_folder import RunFolder
from art.weights import PACKAGE_PREFIX

UNKNOWN = "unknown"

# A start may be the result of a run whose start was the result of another.
_MOST_STARTS = 20


@dataclass(frozen=True)
class MetricRow:
    """A line of a run's table: values as a person reads them, with their 95 % intervals."""

    title: str
    before: str
    after: str


@dataclass(frozen=True)
class Origin:
    """How a retriever was made.

    Attributes:
        start: the model it began with; a folder by its last name alone.
        hub_start: whether `start` is a name on the Hub.
        licence: of the start, as it states it itself; `unknown` where it does not.
        method: of training, in words; `unknown` where a retriever's folder does not say.
        step: optimiser steps of the weights; None where nothing says it.
        fingerprints: of what the training read, name → digits.
        num_questions: evaluated; 0 without a table.
        table: of the run's evaluation.
    """

    start: str
    hub_start: bool
    licence: str
    method: str = UNKNOWN
    step: int | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    num_questions: int = 0
    table: tuple[MetricRow, ...] = ()


def origin_of(model: str) -> Origin:
    """Return what is known of a retriever's folder, or of any model to start from.

    Args:
        model: a retriever's folder, or what `create_retriever` takes.

    Raises:
        ArtError: a file that says it is damaged.
    """
    start = _first_start(model)
    is_folder = _is_folder(start)
    provenance = _provenance(model)
    num_questions, table = _table(Path(model), provenance.get("step"))
    return Origin(
        start=Path(start).name if is_folder else start,
        hub_start=not (is_folder or start.startswith(PACKAGE_PREFIX) or start == UNKNOWN),
        licence=_licence(start),
        method=_method(provenance) if provenance else _untrained(model),
        step=provenance.get("step"),
        fingerprints=provenance.get("fingerprints", {}),
        num_questions=num_questions,
        table=table,
    )


def _is_folder(model: str) -> bool:
    return Path(model).exists() or model.startswith(("/", ".", "~")) or model.count("/") > 1


def _provenance(model: str) -> dict[str, Any]:
    manifest = Path(model) / MANIFEST
    return RetrieverManifest.read(manifest).provenance if manifest.is_file() else {}


def _first_start(model: str) -> str:
    """Return the model at the beginning of all that led to this one."""
    for _ in range(_MOST_STARTS):
        started = _setting(_provenance(model), "retriever", "model")
        if not started:
            break
        model = started
    return UNKNOWN if (Path(model) / MANIFEST).is_file() else model


def _setting(provenance: Mapping[str, Any], section: str, name: str) -> str:
    config = provenance.get("config")
    values = config.get(section) if isinstance(config, dict) else None
    value = values.get(name) if isinstance(values, dict) else None
    return "" if value is None else str(value)


def _untrained(model: str) -> str:
    return UNKNOWN if (Path(model) / MANIFEST).is_file() else "none; these are the start's weights"


def _method(provenance: Mapping[str, Any]) -> str:
    name = _setting(provenance, "training", "method")
    if not name:
        return UNKNOWN
    words = f"{name}: {METHODS[name].description}" if name in METHODS else name
    teacher = _setting(provenance, "teacher", "model")
    if teacher and (name not in METHODS or METHODS[name].uses_teacher):
        shown = Path(teacher).name if _is_folder(teacher) else teacher
        words = f"{words.rstrip('.')}; teacher {shown}"
    return words


def _table(folder: Path, step: int | None) -> tuple[int, tuple[MetricRow, ...]]:
    """Return the table of the run in whose folder a retriever lies, if these are its weights."""
    run = RunFolder(folder.resolve().parent)
    if run.result_folder != folder.resolve() or not run.result_file.is_file():
        return 0, ()
    result = TrainingResult.read(run.result_file)
    if step != result.best_step:
        return 0, ()
    rankings = run.rankings_file(0)
    kept = read_rankings(rankings) if rankings.is_file() else None

    def shown(name: str, value: float) -> str:
        known = metric(name)
        interval = share_interval(name, value, result.num_questions, kept)
        sign = f" {known.unit.sign}".rstrip()
        if interval is None:
            return known.shown(value) + sign
        low, high = map(known.shown, interval)
        return f"{known.shown(value)}{sign} ({low} to {high})"

    rows = (
        MetricRow(metric(name).title, shown(name, value), shown(name, result.after[name]))
        for name, value in result.before.items()
        if name in result.after
    )
    return result.num_questions, tuple(rows)


def _licence(start: str) -> str:
    """Return the licence that a model states, `unknown` where it states none."""
    if start.startswith(PACKAGE_PREFIX):
        return _package_licence(start.removeprefix(PACKAGE_PREFIX))
    for card in _cards(start):
        try:
            text = files.read_text(card)
        except ArtError:  # a card that cannot be read says nothing
            continue
        if (found := _card_licence(text)) is not None:
            return found
    return UNKNOWN


def _cards(start: str) -> Iterator[Path]:
    """Yield the model card of a folder, or of a hub name in the cache, if it is there."""
    card = Path(start) / "README.md"
    if card.is_file():
        yield card
    elif not _is_folder(start) and start != UNKNOWN:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(start, "README.md")
        if isinstance(found, str):
            yield Path(found)


def _card_licence(text: str) -> str | None:
    parts = text.split("---", 2)
    if len(parts) < 3 or parts[0].strip():
        return None
    try:
        header = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return None
    stated = header.get("license") if isinstance(header, dict) else None
    return stated if isinstance(stated, str) and stated else None


def _package_licence(distribution: str) -> str:
    try:
        found = metadata.metadata(distribution)
    except metadata.PackageNotFoundError:
        return UNKNOWN
    for name in ("License-Expression", "License"):
        stated = found[name] if name in found else None  # noqa: SIM401 (a message has no get)
        if stated and len(stated) <= 40 and "\n" not in stated:  # else it is the whole text
            return str(stated)
    return UNKNOWN
