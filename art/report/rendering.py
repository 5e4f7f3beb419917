"""Pages from their templates: whatever a template is given is text, never markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined


@dataclass(frozen=True)
class PageTable:
    """A table with a heading for each column and each row.

    Attributes:
        head: a heading per column but the first.
        rows: a heading, then a cell per column.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def render(template: str, **values: Any) -> str:
    """Return a page; the same values give the same bytes.

    Args:
        template: its name among the files of this room.
        values: what it shows, by the names that it has for them.
    """
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def _source(name: str) -> str:
    return (package_files("art.report") / name).read_text(encoding="utf-8")
