"""What happened over the steps of one or several runs, as charts; runs share their axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from art.evaluation.metrics import metric
from art.report.drawing import (
    Curve,
    Floats,
    StackedCurves,
    draw_curves,
    draw_side_by_side,
    draw_stacks,
)
from art.report.history import History, Record, phases


@dataclass(frozen=True)
class Chart:
    """A picture and what it shows.

    Attributes:
        title: a few words.
        caption: how to read it.
        svg: the picture, without the title.
    """

    title: str
    caption: str
    svg: str


_PER_CENT = 100
# Kind of record, its value, the factor that it is shown with, title and caption.
_VALUES = (
    ("train", "loss", 1, "Loss", "The training loss of each step."),
    (
        "train",
        "labelled_loss",
        1,
        "Loss of the labelled steps",
        "The contrastive loss of the steps on labelled questions between the others.",
    ),
    (
        "train",
        "in_batch_accuracy",
        _PER_CENT,
        "Questions whose positive comes first in their step, %",
        "Each is asked of the positives and hard negatives of the whole step.",
    ),
    (
        "train",
        "agreement",
        1,
        "Agreement of retriever and teacher",
        "Spearman's rank correlation of the two over the passages of a question.",
    ),
    (
        "refresh",
        "top_k_changed",
        _PER_CENT,
        "How stale the index was, %",
        "The share of the passages found that each refresh of the index exchanged.",
    ),
    (
        "probe",
        "top_k_changed_at_least",
        _PER_CENT,
        "How stale the index was at least, %",
        "What decided whether the index was refreshed: the share of the passages found that fresh "
        "vectors of the nearest ones exchanged.",
    ),
    (
        "train",
        "known_share",
        _PER_CENT,
        "Pairs scored before, %",
        "The share of a step's pairs whose score was known already and cost nothing.",
    ),
)
# Of methods that train on questions that people asked and on others that a model wrote.
_BY_ORIGIN = (
    (
        "loss",
        "Loss, real and generated questions apart",
        "The same training loss, of either kind of question by itself.",
    ),
    (
        "soft_label_entropy",
        "Entropy of the soft labels, real and generated questions apart",
        "In nats. The lower, the surer the teacher is of a few of a question's passages.",
    ),
)


def charts(histories: Sequence[History]) -> list[Chart]:
    """Draw all that the metrics of these runs tell."""
    found = [
        Chart(title, _caption(curves), draw_curves(curves))
        for title, curves in _evaluations(histories)
    ]
    for kind, value, factor, title, caption in _VALUES:
        if curves := _curves(histories, kind, value, factor):
            picture = draw_curves(curves, from_zero=factor == _PER_CENT)
            found.append(Chart(title, caption, picture))
    for value, title, caption in _BY_ORIGIN:
        if curves := [*_by_origin(histories, value)]:
            found.append(Chart(title, caption, draw_curves(curves)))
    if stacks := _seconds(histories):
        caption = "What the seconds of a step were spent on; the table below has the whole run."
        found.append(Chart("Seconds of a step", caption, draw_stacks(stacks)))
    return found


def curve_picture(histories: Sequence[History]) -> str:
    """Draw the metrics that choose the step, with their intervals, beside the loss, as SVG."""
    found = dict(_evaluations(histories))
    title = metric(histories[0].metric).chart_title
    if title not in found:
        title = next(iter(found))
    loss = _curves(histories, "train", "loss", 1)
    return draw_side_by_side({title: found[title]} | ({"Loss": loss} if loss else {}))


def _evaluations(histories: Sequence[History]) -> Iterator[tuple[str, list[Curve]]]:
    """Yield titled curves of the metrics.

    The metrics of a family go together where there is a single run; else each has its own chart.
    """
    names = list(dict.fromkeys(name for history in histories for name in history.metrics))
    families: dict[str, list[str]] = {}
    if len(histories) == 1:
        for name in names:
            families.setdefault(metric(name).family, []).append(name)
        names = families.pop("", [])
    for title, members in families.items():
        yield title, [_evaluation(histories[0], name, metric(name).title) for name in members]
    for name in names:
        having = [history for history in histories if name in history.metrics]
        curves = [_evaluation(history, name, history.name) for history in having]
        yield metric(name).chart_title, curves


def _evaluation(history: History, name: str, label: str) -> Curve:
    records = history.records["evaluation"]
    factor = metric(name).unit.factor
    intervals = [history.interval(record, name) for record in records]
    ends = np.array([one for one in intervals if one is not None])
    return Curve(
        label,
        _column(records, "step"),
        factor * _column(records, name),
        band=(factor * ends[:, 0], factor * ends[:, 1]) if len(ends) else None,
        ringed=history.best_step,
    )


def _caption(curves: Sequence[Curve]) -> str:
    bands = any(curve.band is not None for curve in curves)
    return f"The ring marks the chosen step{'; the bands are 95 % intervals' if bands else ''}."


def _curves(histories: Sequence[History], kind: str, value: str, factor: float) -> list[Curve]:
    curves = []
    for history in histories:
        # A first refresh has nothing to compare with, and not every method has every value.
        records = [one for one in history.records[kind] if one.get(value) is not None]
        if records:
            steps = _column(records, "step")
            curves.append(Curve(history.name, steps, factor * _column(records, value)))
    return curves


def _by_origin(histories: Sequence[History], value: str) -> Iterator[Curve]:
    """Yield a curve of each run and kind of question, where a run has both."""
    for history in histories:
        if any(f"real_{value}" in record for record in history.records["train"]):
            lead = f"{history.name}: " if len(histories) > 1 else ""
            for origin in ("real", "generated"):
                for curve in _curves([history], "train", f"{origin}_{value}", 1):
                    yield replace(curve, label=f"{lead}{origin}")


def _seconds(histories: Sequence[History]) -> list[StackedCurves]:
    trained = {history.name: history.records["train"] for history in histories}
    names = phases([record for records in trained.values() for record in records])
    return [
        StackedCurves(
            name,
            _column(records, "step"),
            {phase: _column(records, f"{phase}_seconds") for phase in names},
        )
        for name, records in trained.items()
        if records
    ]


def _column(records: Sequence[Record], name: str) -> Floats:
    return np.array([record.get(name, 0.0) for record in records], dtype=np.float64)
