"""A config file for a person: every setting below the sentence that explains it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

from art.config.settings import fields, sections

_WIDTH = 98


def commented_yaml(
    values: Mapping[str, Any], *, reasons: Mapping[str, str], introduction: str
) -> str:
    """Return settings as YAML with each one's sentence, and the reason for its value, as comments.

    Args:
        values: dotted path → value; settings that are not here keep their defaults.
        reasons: dotted path → why this value was chosen, a sentence, for some of them.
        introduction: the first lines, wrapped paragraph by paragraph.

    Returns:
        A file that `read_config` reads.

    Raises:
        ValueError: a value is of a setting that does not exist.
    """
    known = [dotted for dotted, _, _ in fields()]
    if strangers := values.keys() - set(known):
        raise ValueError(f"no such settings: {sorted(strangers)}")
    lines = [line for part in introduction.splitlines() for line in _comment(part)]
    section = ""
    for dotted, sentence, _ in fields():
        if dotted not in values:
            continue
        name, _, key = dotted.partition(".")
        if name != section:
            section = name
            meaning = (dict(sections())[name].__doc__ or "").splitlines()[0]
            lines += ["", *_comment(meaning), f"{name}:"]
        else:
            lines.append("")
        lines += _comment(sentence, indent="  ")
        if reason := reasons.get(dotted):
            lines += _comment(f"Here: {reason}", indent="  ")
        lines.append(f"  {key}: {_flow(values[dotted])}")
    return "\n".join(lines) + "\n"


def _comment(text: str, *, indent: str = "") -> list[str]:
    lead = f"{indent}# "
    # Nothing is broken inside a word: a command or a path can be copied from one line.
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=lead,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=2**31 - 1)
    return text.removesuffix("...\n").strip()  # PyYAML ends a lone scalar's document
