"""Linear projections behind a tower's pooling: new ones, and the file that keeps them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from art.errors import ArtError
from art.weights import loading_model

_FILE = "projection.safetensors"


def new_projection(hidden_size: int, projection_size: int | None, seed: int) -> nn.Linear | None:
    """Return a projection without bias, None where `projection_size` is.

    Args:
        hidden_size: of the backbone.
        projection_size: of the vectors.
        seed: of its weights.
    """
    if projection_size is None:
        return None
    projection = nn.Linear(hidden_size, projection_size, bias=False)
    # Orthogonal rows keep inner products as they are, as far as fewer dimensions can.
    nn.init.orthogonal_(projection.weight, generator=torch.Generator().manual_seed(seed))
    return projection


def save_projection(projection: nn.Linear, folder: Path) -> None:
    """Write a projection into a tower's folder."""
    tensors = {name: one.detach().contiguous() for name, one in projection.named_parameters()}
    save_file(tensors, folder / _FILE)


def read_projection(
    folder: Path, hidden_size: int, projection_size: int | None
) -> nn.Linear | None:
    """Return the projection in a tower's folder, None where `projection_size` is.

    Args:
        folder: of the tower.
        hidden_size: of its backbone.
        projection_size: of its vectors.

    Raises:
        ArtError: it cannot be read, or is of other sizes.
    """
    if projection_size is None:
        return None
    with loading_model(str(folder)):
        weights = load_file(folder / _FILE)
        projection = nn.Linear(hidden_size, projection_size, bias="bias" in weights)
        expected = {name: one.shape for name, one in projection.named_parameters()}
        if {name: one.shape for name, one in weights.items()} != expected:
            raise ArtError(
                f"not a projection from {hidden_size} to {projection_size} numbers",
                where=folder / _FILE,
                hint="have the retriever saved again",
            )
        projection.load_state_dict(weights)
    return projection
