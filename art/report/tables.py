"""Metrics as text for a person: aligned tables, percentages with intervals, paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from art.evaluation.metrics import metric

if TYPE_CHECKING:
    from art.diagnosis.diagnose import Diagnosis
    from art.diagnosis.judging import Agreement
    from art.evaluation.benchmarks.against import AgainstPublished, Measured
    from art.evaluation.evaluate import Evaluation
    from art.evaluation.paired import Difference, PairedRankings
    from art.evaluation.rankings import KeptPassage
    from art.evaluation.statistics import PairedTest
    from art.planning.label_entropy import LabelEntropy
    from art.report.changes import Change

_PHASES = {
    "retrieve": "retrieving",
    "score": "scoring",
    "learn": "learning",
    "refresh": "refreshing",
    "evaluate": "evaluating",
}


def metrics(results: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a line per ranking and a column per metric.

    Args:
        results: name of a ranking → its metrics by name; what only others have is a dash.
    """
    names = list(dict.fromkeys(name for values in results.values() for name in values))
    lines = [["", *(metric(name).title for name in names)]]
    lines += [
        [row, *(metric(name).shown(values[name]) if name in values else "–" for name in names)]
        for row, values in results.items()
    ]
    return _aligned(lines)


def evaluation(table: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> str:
    """Return an evaluation as a line per metric with its 95 % interval where it has one."""
    counts = {line["num_questions"] for line in table}
    lines = []
    for line in table:
        shown = metric(line["metric"])
        interval = "" if line["low"] is None else f"95 % interval {_ends(line)}"
        asked = f"{line['num_questions']} questions" if len(counts) > 1 else ""
        lines.append([shown.title, shown.shown(line["value"]), interval, asked])
    head = f"{counts.pop()} questions; shares in %" if len(counts) == 1 else "shares in %"
    return "\n".join([head, _aligned(lines), *(f"note: {note}" for note in notes)])


def comparison(results: Mapping[str, Evaluation]) -> str:
    """Return a table of metrics with their 95 % intervals, a line per retriever."""
    first = next(iter(results.values()))
    lines = [["", *(metric(name).title for name in first.metrics)]]
    lines += [[name, *_cells(result)] for name, result in results.items()]
    if all(metric(name).has_interval for name in first.metrics):
        shown = ": % answered within the first k (95 % interval)"
    else:
        shown = "; shares in % (95 % interval where there is one)"
    return f"{first.num_questions} questions{shown}\n{_aligned(lines)}"


def fused(
    results: Mapping[str, Evaluation], tests: Mapping[tuple[str, str], PairedTest], how: str
) -> str:
    """Return what BM25, a retriever and both fused found, and whether fusing makes a difference.

    Args:
        results: from `compare_fused`.
        tests: metric and name of another ranking → fused against it.
        how: the rankings were fused.
    """
    lines = [
        f"{metric(name).title}, fused against {other}: {test.only_first} won, "
        f"{test.only_second} lost (exact {_test_of(name)} p = {test.p_value:.2g})"
        for (name, other), test in tests.items()
    ]
    notes = [f"note: {note}" for note in results["fused"].notes]
    return "\n".join([comparison(results), f"fused by {how}", *lines, *notes])


def _test_of(name: str) -> str:
    return "McNemar" if metric(name).has_interval else "sign test"


def against_published(result: AgainstPublished) -> str:
    """Return our results on a benchmark, and below them what others published, with verdicts."""
    benchmark = result.benchmark
    names = [metric(name).title for name in benchmark.metrics]
    ours = ["unknown" if one is None else with_interval(_line(one)) for one in result.by_metric()]
    lines = [["", *names, "source"], ["ours", *ours, ""]]
    for one in benchmark.published:
        cells = map(_published, one.values, result.verdicts(one))
        lines.append([one.system, *cells, one.source or "unknown"])
    return "\n".join(
        [
            f"{benchmark.name}: {benchmark.title}; {benchmark.protocol}; %, with 95 % interval",
            _aligned(lines),
            "above, below: ours is, by more than its interval; within: the interval holds it",
            *(f"note: {note}" for note in result.notes),
        ]
    )


def _line(one: Measured) -> dict[str, Any]:
    return {"metric": one.metric, "value": one.value, "low": one.low, "high": one.high}


def _published(value: float | None, verdict: str | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.1f} {verdict or ''}".rstrip()


def paired(found: PairedRankings) -> str:
    """Return how the metrics of ranking B differ from those of ranking A, a line each."""
    counts = {one.num_questions for one in found.differences}
    heads = ["", "A", "B", "B - A", "95 % interval", "B better", "A better", "exact McNemar p"]
    lines = [heads + ["questions"] * (len(counts) > 1)]
    for one in found.differences:
        lines.append(_difference(one) + [str(one.num_questions)] * (len(counts) > 1))
    head = f"{len(found.first)} questions; shares in %; B better, A better: questions"
    return "\n".join([head, _aligned(lines), *(f"note: {note}" for note in found.notes)])


def _difference(one: Difference) -> list[str]:
    its = metric(one.name)
    interval = (
        ""
        if one.low is None or one.high is None
        else (f"{its.shown_gain(one.low)} to {its.shown_gain(one.high)}")
    )
    return [
        its.title,
        its.shown(one.first),
        its.shown(one.second),
        its.shown_gain(one.second - one.first),
        interval,
        str(one.test.only_first),
        str(one.test.only_second),
        f"{one.test.p_value:.2g}" if its.has_interval else "",
    ]


def diagnosis(found: Diagnosis) -> str:
    """Return what was found out about a teacher, a paragraph per question that a user would ask."""
    labels = [["", "at T = 1", "suggested T", "there, from 10 % to 90 % of the questions"]]
    labels += [[name, *_label_entropy(one)] for name, one in found.label_entropies.items()]
    over = f"{found.source}'s first {found.top_k}"
    variants = " and ".join(found.label_entropies)
    alike = f"\n{variants} put the passages of a question in the same order"
    parts = [
        _reordered(found),
        *_blended(found),
        f"Teacher and search over the first {found.top_k}\n{agreements(found.agreements)}",
        f"Soft labels over {over}: entropy as % of log K\n{_aligned(labels)}"
        + alike * (len(found.label_entropies) > 1),
    ]
    if len(found.prompts) > 1:
        parts.append(f"Prompts, over {over}\n{_prompts(found)}")
    parts.append(f"{found.pairs_per_second:,.1f} pairs a second here")
    return "\n\n".join(parts)


def agreements(found: Mapping[str, Agreement]) -> str:
    """Return a table of how far the teacher agrees with each search."""
    lines = [["", "same first passage (95 % interval)", "rank correlation"]]
    lines += [[name, *_agreement(one)] for name, one in found.items()]
    return _aligned(lines)


def hours(
    num_pairs: int, seconds: Mapping[str, tuple[float, float]] | None, found: Diagnosis
) -> str:
    """Return how long a run would take.

    Args:
        num_pairs: to score, at most.
        seconds: least and most by phase, from a forecast; None to tell of the scoring only.
        found: has the rate of scoring.
    """
    scoring = num_pairs / found.pairs_per_second
    most = {
        _PHASES[name]: longest / 3600
        for name, (_, longest) in (seconds or {"score": (scoring, scoring)}).items()
    }
    phases = " + ".join(f"{name} {_duration(value)}" for name, value in most.items())
    left_out = "" if seconds else "; name a --retriever to count the rest as well"
    return (
        f"the configured run would take {_duration(sum(most.values()))} at most: {phases} "
        f"({num_pairs:,} pairs, fewer where a passage is found again{left_out})"
    )


def outcome(test: PairedTest) -> str:
    """Return what a paired test found of the first ranking against the second."""
    return f"{test.only_first} won, {test.only_second} lost (exact McNemar p = {test.p_value:.2g})"


def _outcome_cells(test: PairedTest | None) -> list[str]:
    if test is None:
        return ["", "", ""]
    return [str(test.only_first), str(test.only_second), f"{test.p_value:.2g}"]


def _reordered(found: Diagnosis) -> str:
    if not found.results:
        return f"{found.num_questions} questions without labels: nobody can tell who is right"
    tests = [
        f"{metric(found.tested).title}, {name}: {outcome(test)}"
        for name, test in found.tests.items()
    ]
    notes = [f"note: {note}" for note in next(iter(found.results.values())).notes]
    return "\n".join([comparison(found.results), *tests, *notes])


def _blended(found: Diagnosis) -> list[str]:
    """Return the paragraph about blends; none without labels."""
    if not found.results:
        return []
    scales = ", ".join(f"{name} {scale:.3g}" for name, scale in found.scales.items() if scale)
    parts = [
        f"Teacher and search blended over the first {found.depth}: search / scale + weight × "
        f"teacher / scale\n(scale: standard deviation within the lists: {scales or 'none'})"
    ]
    if found.blends:
        names = found.blends[0].evaluation.metrics
        lines = [["", *(metric(name).title for name in names), "won", "lost", "p"]]
        for one in found.blends:
            name = f"{one.source}, weight {one.weight:g}"
            lines.append([name, *_cells(one.evaluation), *_outcome_cells(one.test)])
        parts.append(_aligned(lines))
        tested = metric(found.tested).title
        parts.append(f"won, lost: {tested} against the search alone (exact McNemar)")
        parts.append("note: the best of these weights is chosen on the questions it is judged on")
    silent = [name for name, scale in found.scales.items() if scale is None]
    parts += [f"note: {name} gives all passages of a list the same score" for name in silent]
    return ["\n".join(parts)]


def _label_entropy(one: LabelEntropy) -> list[str]:
    if one.temperature is None:
        return [f"{100 * one.share:.1f}", "none", "the teacher hardly tells these passages apart"]
    spread = f"{100 * one.low:.1f} to {100 * one.high:.1f}"
    return [f"{100 * one.share:.1f}", f"{one.temperature:.2g}", spread]


def _agreement(one: Agreement) -> list[str]:
    share = f"{100 * one.share:.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"
    return [share, f"{one.correlation:.2f}"]


def _prompts(found: Diagnosis) -> str:
    first = next(iter(found.prompts.values())).evaluation
    names = [metric(name).title for name in first.metrics] if first else []
    lines = [["", *names, "same first", "entropy at T = 1", "suggested T"]]
    for prompt, one in found.prompts.items():
        cells = _cells(one.evaluation) if one.evaluation else []
        label_entropy = _label_entropy(one.label_entropy)[:2]
        lines.append([prompt, *cells, _agreement(one.agreement)[0], *label_entropy])
    return _aligned(lines)


def _duration(in_hours: float) -> str:
    return f"{in_hours:.1f} h" if in_hours >= 1 else f"{60 * in_hours:.1f} min"


def with_interval(line: Mapping[str, Any]) -> str:
    """Return the value of a line of `Evaluation.table`, with its interval where it has one."""
    value = metric(line["metric"]).shown(line["value"])
    return value if line["low"] is None else f"{value} ({_ends(line)})"


def _ends(line: Mapping[str, Any]) -> str:
    shown = metric(line["metric"]).shown
    return f"{shown(line['low'])} to {shown(line['high'])}"


def _cells(result: Evaluation) -> list[str]:
    return [with_interval(line) for line in result.table()]


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def side_by_side(
    changes: Sequence[Change],
    *,
    names: tuple[str, str] = ("before", "after"),
    num_passages: int = 3,
) -> str:
    """Return questions with the titles that they found before and after training.

    Args:
        changes: from `won_and_lost`.
        names: of both rankings.
        num_passages: titles of each ranking, best first; a passage that answers has an asterisk.
    """
    parts = []
    for change in changes:
        before, after = (
            [_answer(passage) for passage in ranking.passages[:num_passages]]
            for ranking in (change.before, change.after)
        )
        width = max(map(len, [names[0], *before]))
        pairs = zip_longest([names[0], *before], [names[1], *after], fillvalue="")
        lines = [f"  {first.ljust(width)}  {second}".rstrip() for first, second in pairs]
        parts.append(
            "\n".join([f"{change.before.question or change.before.id} ({change.said})", *lines])
        )
    return "\n\n".join(parts)


def _answer(passage: KeptPassage) -> str:
    name = passage.title or passage.id
    return f"{name} *" if passage.hit else name
