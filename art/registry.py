"""Things that can be chosen by name: methods, teachers, losses, metrics, file formats.

A registry is the only place that knows which there are: adding one takes a file that adds itself,
and changes no other file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, Protocol, TypeVar

from art.errors import ConfigError, shown


class Named(Protocol):
    """Something with a name of its own."""

    @property
    def name(self) -> str:
        """The word that chooses it."""


Entry = TypeVar("Entry", bound=Named)


class Registry(Generic[Entry]):
    """Entries by name, in the order in which they were added.

    Args:
        what: an entry is, for messages, such as `training method`.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> Entry:
        """Add an entry and return it.

        Raises:
            ValueError: another entry has its name.
        """
        if self._entries.setdefault(entry.name, entry) is not entry:
            raise ValueError(f"two entries of {self.what} are called {entry.name!r}")
        return entry

    def remove(self, name: str) -> None:
        """Forget an entry, as a test does with one of its own."""
        del self._entries[name]

    def __getitem__(self, name: str) -> Entry:
        """Return the entry of this name.

        Raises:
            ConfigError: there is none; names the nearest.
        """
        if name not in self._entries:
            near = difflib.get_close_matches(name, self._entries, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"no such {self.what}: {shown(name)}",
                hint=f"{hint}known: {', '.join(self._entries)}",
            )
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> list[str]:
        """The entries' names."""
        return list(self._entries)


def import_all(package: str, path: list[str]) -> None:
    """Import every module of a package, so that each adds what it declares; by name.

    Args:
        package: its `__name__`.
        path: the package's `__path__`.
    """
    for module in sorted(iter_modules(path), key=lambda one: one.name):
        import_module(f"{package}.{module.name}")
