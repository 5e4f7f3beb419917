"""A forecast as text for a person."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import yaml

from art.config import Config
from art.planning.forecast import Forecast
from art.planning.space import Space
from art.planning.work import Work
from art.training.plan import describe

_SCORING = (
    "scoring takes the less, the fewer new passages are found after the first epoch, since a "
    "pair is scored once, and the more questions share a passage, which is read once for them"
)
_NOT_COUNTED = (
    "not counted: reading and tokenising the corpus and BM25 (once, then cached), loading models, "
    "writing to disk"
)


def settings(config: Config, origins: Mapping[str, str]) -> str:
    """Return every resolved setting with its value and where it comes from.

    Args:
        config: the settings.
        origins: dotted path → place, as a `Stage` has it.
    """
    document = config.model_dump()
    lines = []
    for dotted, origin in origins.items():
        section, _, name = dotted.partition(".")
        lines.append([f"  {dotted}", _value((document[section] or {}).get(name)), origin])
    return "\n".join(["settings, and where each comes from", *_columns(lines)])


def plan(config: Config, forecast: Forecast) -> str:
    """Return what a run will do, how long it takes, what it needs, and what that rests on."""
    work = forecast.work
    parts = [
        "plan",
        textwrap.indent(
            describe(
                config,
                forecast.schedule,
                num_passages=work.num_passages,
                world_size=forecast.world_size,
            ),
            "  ",
        ),
        f"  {work.num_evaluations:,} evaluations on {_evaluated(work)}; "
        f"{work.num_refreshes * work.num_passages:,} passages embedded"
        + (" at most" if work.num_decided_refreshes else ""),
        "",
        *_columns(_phases(forecast)),
        *(_sentence(line) for line in _remarks(forecast)),
        "",
        *_sizes("memory of each process", forecast.memory, "the device has"),
        "",
        *_sizes("disk, at the most", forecast.disk, "free here"),
        "",
        "this rests on",
        *(_sentence(line, bullet="- ") for line in forecast.basis),
    ]
    if forecast.warnings:
        parts += ["", *(_sentence(f"warning: {line}") for line in forecast.warnings)]
    return "\n".join(parts)


def _evaluated(work: Work) -> str:
    asked = []
    if work.questions_per_evaluation:
        asked.append(f"{work.questions_per_evaluation:,} questions")
    if work.pooled_questions:
        pool = f"a pool of {work.pooled_passages:,} passages"
        asked.append(f"{work.pooled_questions:,} questions asked of {pool}")
    return " and ".join(asked)


def _remarks(forecast: Forecast) -> list[str]:
    if not forecast.seconds:
        return []
    return [_SCORING, _NOT_COUNTED] if forecast.work.pairs_most else [_NOT_COUNTED]


def _phases(forecast: Forecast) -> list[list[str]]:
    if forecast.flops is None and forecast.seconds is None:
        return [["  operations and hours cannot be told for these models"]]
    flops, seconds = forecast.flops or {}, forecast.seconds or {}
    lines = [
        [f"  {name}", _operations(flops.get(name)), _duration(seconds.get(name))]
        for name in flops or seconds
        if flops.get(name) or seconds.get(name, (0, 0))[1]  # not every run has every phase
    ]
    low, high = (sum(each[i] for each in seconds.values()) for i in (0, 1))
    whole = _duration((low, high) if seconds else None)
    total = _operations(sum(flops.values()) if flops else None)
    return [["  phase", "operations", "hours"], *lines, ["  together", total, whole]]


def _operations(flops: float | None) -> str:
    if flops is None:
        return "?"
    for limit, size, name in ((1e15, 1e12, "TFLOP"), (1e18, 1e15, "PFLOP")):
        if flops < limit:
            return f"{flops / size:,.1f} {name}"
    return f"{flops / 1e18:,.1f} EFLOP"


def _duration(seconds: tuple[float, float] | None) -> str:
    if seconds is None:
        return "?"
    low, high = (_hours(one / 3600) for one in seconds)
    return low if low == high else f"{low} to {high}"


def _hours(hours: float) -> str:
    return f"{hours:.3f}" if hours < 1 else f"{hours:,.1f}"


def _sizes(title: str, space: Space, limit_name: str) -> list[str]:
    lines = [[f"  {name}", f"{size / 1e9:,.2f} GB"] for name, size in space.needed.items()]
    together = ["  together", f"{sum(space.needed.values()) / 1e9:,.2f} GB"]
    limit = [f"  {limit_name}", f"{space.available / 1e9:,.1f} GB"]
    return [title, *_columns([*lines, together, limit])]


def _value(value: object) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _sentence(text: str, *, bullet: str = "") -> str:
    indent = "  " + " " * len(bullet)
    return textwrap.fill(
        text, 98, initial_indent=f"  {bullet}", subsequent_indent=indent, break_on_hyphens=False
    )


def _columns(lines: Sequence[Sequence[str]]) -> list[str]:
    num_columns = max(map(len, lines))
    padded = [[*line, *[""] * (num_columns - len(line))] for line in lines]
    widths = [max(len(line[column]) for line in padded) for column in range(num_columns)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in padded
    ]
