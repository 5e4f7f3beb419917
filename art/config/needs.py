"""What each method of training cannot do without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from art.config.settings import fields, sections

_NEEDS = {
    "art": ("data.passages", "data.questions", "teacher"),
    "dpr": ("data.supervised",),
    "warmup": ("data.passages",),
}


def unmet_needs(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the dotted path of each setting that is missing, and a line that says who needs it.

    Args:
        document: sections of plain values, whether or not they are valid.
    """
    method = _given(document, "training.method") or "art"
    needs = {}
    if _given(document, "evaluation.questions"):
        needs["data.passages"] = "evaluation.questions"
    if _given(document, "training.labelled_share"):
        needs["data.supervised"] = "training.labelled_share"
    needs |= dict.fromkeys(_NEEDS.get(str(method), ()), f"training.method {method}")
    sentences = {dotted: sentence for dotted, sentence, _ in fields()}
    sentences |= {name: kind.__doc__ or "" for name, kind in sections()}
    for dotted, who in needs.items():
        if not _given(document, dotted):
            yield dotted, f"is required by {who}. {sentences[dotted]}"


def _given(document: Mapping[str, Any], dotted: str) -> Any:
    section, _, name = dotted.partition(".")
    values = document.get(section)
    return values.get(name) if name and isinstance(values, Mapping) else values
