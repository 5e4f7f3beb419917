"""What a run trains: a retriever or a reader, opened at the start or at a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from art.retriever.encoders import Retriever
from art.retriever.loading import create_retriever
from art.training.run_files import cache_folder

if TYPE_CHECKING:
    import torch
    from torch import nn

    from art.config import Config


class Student(Protocol):
    """A torch module that training moves, and that saves itself as a folder it can start from."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def dtype(self) -> str:
        """What it computes in, such as `float32`, which its weights have in any case."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield all weights."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield all weights with their names; what stands before the first dot is said to users."""

    def to(self, device: torch.device) -> Self:
        """Move it there."""

    def save(self, folder: str | Path, *, provenance: Mapping[str, Any] | None = None) -> None:
        """Write it atomically.

        Args:
            folder: replaced whole.
            provenance: what made these weights, as JSON values; kept with them.

        Raises:
            ArtError: a file cannot be written.
        """


def as_retriever(student: Student) -> Retriever:
    """Return a student that is a retriever, as a method that trains one has."""
    assert isinstance(student, Retriever)
    return student


def retriever_at(config: Config, weights: Path | None) -> Retriever:
    """Return the retriever of the settings.

    Args:
        config: the settings.
        weights: folder of a checkpoint's retriever; None for the start.

    Raises:
        ArtError: it cannot be loaded.
    """
    settings = config.towers.model_dump()
    if weights is not None:
        settings.update(model=str(weights), passage_model=None)
    return create_retriever(**settings, seed=config.training.seed, cache=cache_folder(config))
