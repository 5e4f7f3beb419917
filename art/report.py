"""Figures as text for a person: aligned tables, percentages with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def comparison(results: Mapping[str, Mapping[str, float]], figures: Sequence[str]) -> str:
    """Return a table with a line per retriever and a column per figure.

    Args:
        results: name of a retriever → its figures by name; one that is missing shows as a dash.
        figures: the columns, in order.
    """
    heads = [figure.replace("_", "-") for figure in figures]
    lines = [["", *heads]]
    for name, values in results.items():
        lines.append([name, *(_value(figure, values.get(figure)) for figure in figures)])
    return _aligned(lines)


def evaluation(table: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> str:
    """Return an evaluation as a line per figure with its 95 % interval where it has one."""
    lines = []
    counts = {line["num_questions"] for line in table}
    for line in table:
        low, high = line["low"], line["high"]
        interval = "" if low is None else f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
        value = _value(line["figure"], line["value"])
        asked = f"{line['num_questions']} questions" if len(counts) > 1 else ""
        lines.append([line["figure"].replace("_", "-"), value, interval, asked])
    head = f"{counts.pop()} questions; shares in %" if len(counts) == 1 else "shares in %"
    return "\n".join([head, _aligned(lines), *(f"note: {note}" for note in notes)])


def _value(figure: str, value: float | None) -> str:
    if value is None:
        return "-"
    # Shares read as percentages; log-likelihoods are what they are.
    return f"{value:.3f}" if value < 0 or figure.endswith("likelihood") else f"{100 * value:.1f}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
