"""One HTML page about one or several runs that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from art.evaluation.metrics import metric
from art.report.changes import won_and_lost
from art.report.curves import charts
from art.report.drawing import inline
from art.report.history import History
from art.report.rendering import PageTable, render
from art.report.tables import outcome, with_interval
from art.training.methods import METHODS
from art.training.sources import QUESTIONS


def render_page(histories: Sequence[History]) -> str:
    """Return the page; the same runs give the same bytes."""
    pictures = [
        (chart, inline(chart.svg, f"chart{number}"))
        for number, chart in enumerate(charts(histories))
    ]
    return render(
        "page.html",
        names=[history.name for history in histories],
        facts=_facts(histories),
        metrics=_metrics(histories),
        notes=list(_notes(histories)),
        pictures=pictures,
        seconds=_seconds(histories),
        changes=[(history, _changes(history)) for history in histories],
        differing=_differing(histories),
        histories=histories,
    )


def _facts(histories: Sequence[History]) -> PageTable:
    by_run = [_facts_of(history) for history in histories]
    rows = [[name, *(facts[name] for facts in by_run)] for name in by_run[0]]
    # The heading of the page names a single run.
    return PageTable([history.name for history in histories] if len(histories) > 1 else [], rows)


def _facts_of(history: History) -> dict[str, str]:
    data, evaluation = history.settings.get("data", {}), history.settings.get("evaluation", {})
    start = history.records["start"][0] if history.records["start"] else {}
    given = [_listed(evaluation.get(name)) for name in ("questions", "supervised")]
    all_generated = start.get("num_generated") and not data.get("questions")
    held_out = f"held out of what trains{', generated too' * bool(all_generated)}"
    chosen_on = ", ".join(filter(None, given)) or held_out
    method = history.settings.get("training", {}).get("method", "art")
    trained_on = METHODS[method].trains_on if method in METHODS else QUESTIONS
    source = _listed(data.get(trained_on.setting)) if trained_on.setting else trained_on.name
    num_steps = start.get("num_steps")
    student = history.settings.get("retriever") or history.settings.get("reader", {})
    state = "finished" if history.finished else "not finished"
    return {
        "State": f"{state}, step {history.last_step:,}"
        + (f" of {num_steps:,}" if num_steps else ""),
        "Started": _date(start.get("unix_seconds")),
        "Passages": _counted(start.get("num_passages"), data.get("passages")),
        "Method": str(method),
        "Training questions": _counted(
            start.get("num_questions"),
            "; ".join(filter(None, [source, _generated(start, data)])),
        ),
        "Evaluated on": _counted(history.evaluation(0)["num_questions"], chosen_on),
        "Student": str(student.get("model", "?")),
        "Teacher": str(history.settings.get("teacher", {}).get("model", "none")),
        "Step chosen by": metric(history.metric).meaning,
        "Chosen step": "0: none was better than the start"
        if history.best_step == 0
        else f"{history.best_step:,}" + ("" if history.finished else ", so far"),
    }


def _generated(start: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """Return how many of an epoch's questions are generated, and whose; empty where none are."""
    count = start.get("num_generated", 0)
    return f"{count:,} of them generated: {_listed(data.get('generated'))}" if count else ""


def _listed(files: Any) -> str:
    return ", ".join(map(str, files)) if isinstance(files, list) else str(files or "")


def _counted(count: int | None, source: Any) -> str:
    return f"{source}" if count is None else f"{count:,} ({source})"


def _date(unix_seconds: int | None) -> str:
    if unix_seconds is None:
        return "not recorded"
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _metrics(histories: Sequence[History]) -> PageTable:
    names = list(dict.fromkeys(name for history in histories for name in history.metrics))
    rows = []
    for history in histories:
        lead = f"{history.name}: " if len(histories) > 1 else ""
        shown = {} if (words := history.words()) is None else {"BM25": words}
        # One of them where no step was better than the start.
        for step in sorted({0, history.best_step}):
            when = f"{'after' if step else 'before'} training (step {step:,})"
            shown[when] = history.evaluation(step)
            if fused := history.fused(step):
                shown[f"{when}, fused"] = fused
        rows += [
            [f"{lead}{row}", *(_cell(history, record, name) for name in names)]
            for row, record in shown.items()
        ]
    return PageTable([metric(name).title for name in names], rows)


def _cell(history: History, record: Mapping[str, Any], name: str) -> str:
    if name not in record:
        return "–"
    low, high = history.interval(record, name) or (None, None)
    return with_interval({"metric": name, "value": record[name], "low": low, "high": high})


def _notes(histories: Sequence[History]) -> Iterator[str]:
    for history in histories:
        lead = f"{history.name}: " if len(histories) > 1 else ""
        if history.best_step and (found := history.paired_test()) is not None:
            name, test = found
            title = metric(name).title
            yield f"{lead}{title}, after training against before: {outcome(test)}."
    if any(metric(name).has_interval for history in histories for name in history.metrics):
        yield "Shares in %; in brackets their 95 % intervals (Wilson)."
    for name in ("evaluation questions", "passages"):
        if len({history.fingerprints.get(name) for history in histories}) > 1:
            yield f"The runs did not have the same {name}: do not compare their metrics."


def _seconds(histories: Sequence[History]) -> PageTable:
    by_run = {history.name: history.seconds_by_phase() for history in histories}
    names = list(dict.fromkeys(name for seconds in by_run.values() for name in seconds))
    rows = []
    for run, seconds in by_run.items():
        whole = sum(seconds.values())
        cells = [_share_of(seconds.get(name, 0.0), whole) for name in names]
        rows.append([run, *cells, _duration(whole)])
    return PageTable([*names, "together"], rows)


def _share_of(seconds: float, whole: float) -> str:
    return f"{_duration(seconds)} ({seconds / whole:.0%})" if whole else _duration(seconds)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def _changes(history: History) -> dict[str, list[Any]] | str:
    """Return the questions won and lost, or why there are none to show."""
    if history.best_step == 0:
        return "No step was better than the start, so there is nothing to compare."
    if history.before is None or history.after is None:
        return "What the questions found was not kept by this run."
    won, lost = won_and_lost(history.before, history.after, history.metric)
    return {"won": won, "lost": lost}


def _differing(histories: Sequence[History]) -> PageTable | None:
    flat = [
        {f"{section}.{name}": value for section, values in history.settings.items()
         for name, value in values.items()}
        for history in histories
    ]  # fmt: skip
    rows = []
    for dotted in dict.fromkeys(name for settings in flat for name in settings):
        values = [yaml.safe_dump(one.get(dotted)).removesuffix("...\n").strip() for one in flat]
        if len(set(values)) > 1 and dotted != "output.folder":
            rows.append([dotted, *values])
    return PageTable([history.name for history in histories], rows) if rows else None
