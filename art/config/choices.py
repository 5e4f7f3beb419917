"""Settings whose value is a name that the wiring knows: methods, losses, kinds of teachers.

This room is below theirs and knows none of them; whoever reads settings brings them along.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from art.config.settings import Config, fields, sections
from art.errors import shown


class Choice(Protocol):
    """What a name stands for, as far as settings are concerned."""

    @property
    def name(self) -> str:
        """The value of the setting."""

    @property
    def description(self) -> str:
        """A sentence for a user."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Dotted paths of settings and sections that must be given."""

    def faults(self, config: Config) -> Iterable[str]:
        """Yield a line per setting that contradicts the choice, with its dotted path."""


@dataclass(frozen=True)
class Choices:
    """All names that settings can hold.

    Attributes:
        by_setting: dotted path of a setting → its choices by name.
    """

    by_setting: Mapping[str, Mapping[str, Choice]]

    def chosen(self, document: Mapping[str, Any]) -> Iterator[tuple[str, str, Choice | None]]:
        """Yield setting, name and choice; None where there is no such choice.

        A setting of a section that is not given chooses nothing.

        Args:
            document: sections of plain values, whether or not they are valid.
        """
        defaults = {dotted: default for dotted, _, default in fields()}
        for dotted, known in self.by_setting.items():
            section, _, key = dotted.partition(".")
            values = document.get(section)
            if isinstance(values, Mapping) or section in _OPTIONAL:
                name = (values if isinstance(values, Mapping) else {}).get(key, defaults[dotted])
                if isinstance(name, str):  # else the declaration refuses it
                    yield dotted, name, known.get(name)

    def unknown(self, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each setting that holds no name that is known, and a line about it."""
        for dotted, name, choice in self.chosen(document):
            if choice is None:
                known = list(self.by_setting[dotted])
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                meant = f"did you mean {near[0]}? " if near else ""
                yield dotted, f"{meant}it is one of {', '.join(known)}, got {shown(name)}"

    def unmet_needs(self, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each setting that is missing, by dotted path, and a line that says who needs it."""
        needs = {}
        if _given(document, "evaluation.questions"):
            needs["data.passages"] = "evaluation.questions"
        if _given(document, "training.labelled_share"):
            needs["data.supervised"] = "training.labelled_share"
        for dotted, name, choice in self.chosen(document):
            needs |= dict.fromkeys(choice.needs if choice else (), f"{dotted} {name}")
        sentences = {dotted: sentence for dotted, sentence, _ in fields()}
        sentences |= {name: (kind.__doc__ or "").partition("\n")[0] for name, kind in sections()}
        if strangers := {dotted: who for dotted, who in needs.items() if dotted not in sentences}:
            raise ValueError(f"needs of settings that do not exist: {strangers}")
        for dotted, who in needs.items():
            if not any(_given(document, one) for one in (dotted, *_INSTEAD.get(dotted, ()))):
                yield dotted, f"is required by {who}. {sentences[dotted]}"

    def faults(self, config: Config) -> Iterator[str]:
        """Yield what the choices have against other settings."""
        for _, _, choice in self.chosen(config.model_dump()):
            if choice is not None:
                yield from choice.faults(config)


_OPTIONAL = ("training",)  # whose defaults hold where it is left out
_INSTEAD = {"data.questions": ("data.generated",)}  # what does as well as a setting


def _given(document: Mapping[str, Any], dotted: str) -> Any:
    section, _, name = dotted.partition(".")
    values = document.get(section)
    return values.get(name) if name and isinstance(values, Mapping) else values
