"""What every target of `art export` says of itself, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from art.registry import Registry

if TYPE_CHECKING:
    from art.data.passages import PassageStore
    from art.interop.towers import TowerParts
    from art.retriever.index import Index


@dataclass(frozen=True)
class Exported:
    """What is exported.

    Attributes:
        question: the question tower.
        passage: the passage tower; the same weights where `tied`.
        tied: one tower serves both.
        index: of the passage tower; None where no target asked for one.
        store: the passages of `index`.
    """

    question: TowerParts
    passage: TowerParts
    tied: bool
    index: Index | None = None
    store: PassageStore | None = None


class Export(ABC):
    """One target of `art export`.

    Attributes:
        name: the word after `--to`.
        description: what is written, for the help.
        library: the Hub's name of the library that reads it; empty where it has none.
        needs_index: whether it exports an index and not the towers.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    library: ClassVar[str] = ""
    needs_index: ClassVar[bool] = False

    def check(self, source: Exported) -> None:  # noqa: B027 (most targets take any retriever)
        """Refuse what this target cannot represent, before anything is written.

        Raises:
            ArtError: it cannot; says why.
        """

    @abstractmethod
    def write(self, source: Exported, folder: Path) -> None:
        """Write the files of this target into an empty folder."""

    @abstractmethod
    def usage(self, source: Exported) -> str:
        """Return how the folder is used, in Markdown, for the model card."""

    def notes(self, source: Exported) -> Iterator[str]:
        """Yield a line for whatever the target does otherwise than the retriever."""
        yield from ()


EXPORTS: Registry[Export] = Registry("target of an export")
