"""Figures as text for a person: aligned tables, percentages with intervals, paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from art.evaluation.evaluate import Evaluation


def figures(results: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table with a line per retriever and a column per figure.

    Args:
        results: name of a retriever → its figures by name, the same names for all.
    """
    names = list(next(iter(results.values())))
    lines = [["", *(name.replace("_", "-") for name in names)]]
    lines += [
        [retriever, *(_value(name, values[name]) for name in names)]
        for retriever, values in results.items()
    ]
    return _aligned(lines)


def evaluation(table: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> str:
    """Return an evaluation as a line per figure with its 95 % interval where it has one."""
    counts = {line["num_questions"] for line in table}
    lines = []
    for line in table:
        value = _value(line["figure"], line["value"])
        interval = "" if line["low"] is None else f"95 % interval {_interval(line)}"
        asked = f"{line['num_questions']} questions" if len(counts) > 1 else ""
        lines.append([line["figure"].replace("_", "-"), value, interval, asked])
    head = f"{counts.pop()} questions; shares in %" if len(counts) == 1 else "shares in %"
    return "\n".join([head, _aligned(lines), *(f"note: {note}" for note in notes)])


def comparison(results: Mapping[str, Evaluation]) -> str:
    """Return a table of shares with their 95 % intervals, a line per retriever."""
    first = next(iter(results.values()))
    lines = [["", *(name.replace("_", "-") for name in first.figures)]]
    for name, result in results.items():
        cells = [
            f"{_value(line['figure'], line['value'])} ({_interval(line)})"
            for line in result.table()
        ]
        lines.append([name, *cells])
    head = f"{first.num_questions} questions: % answered within the first k (95 % interval)"
    return f"{head}\n{_aligned(lines)}"


def _interval(line: Mapping[str, Any]) -> str:
    return f"{100 * line['low']:.1f} to {100 * line['high']:.1f}"


def _value(figure: str, value: float) -> str:
    # Shares read as percentages; log-likelihoods are what they are.
    return f"{value:.3f}" if figure.endswith("likelihood") else f"{100 * value:.1f}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
