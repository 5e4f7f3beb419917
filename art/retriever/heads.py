"""Linear heads behind a tower's pooling: new ones, and the file that keeps them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from art.errors import ArtError
from art.weights import loading_model

_FILE = "head.safetensors"


def new_head(hidden_size: int, head_size: int | None, seed: int) -> nn.Linear | None:
    """Return a head without bias, None where `head_size` is.

    Args:
        hidden_size: of the backbone.
        head_size: of the vectors.
        seed: of its weights.
    """
    if head_size is None:
        return None
    head = nn.Linear(hidden_size, head_size, bias=False)
    # Orthogonal rows keep inner products as they are, as far as fewer dimensions can.
    nn.init.orthogonal_(head.weight, generator=torch.Generator().manual_seed(seed))
    return head


def save_head(head: nn.Linear, folder: Path) -> None:
    """Write a head into a tower's folder."""
    tensors = {name: one.detach().contiguous() for name, one in head.named_parameters()}
    save_file(tensors, folder / _FILE)


def read_head(folder: Path, hidden_size: int, head_size: int | None) -> nn.Linear | None:
    """Return the head in a tower's folder, None where `head_size` is.

    Args:
        folder: of the tower.
        hidden_size: of its backbone.
        head_size: of its vectors.

    Raises:
        ArtError: it cannot be read, or is of other sizes.
    """
    if head_size is None:
        return None
    with loading_model(str(folder)):
        weights = load_file(folder / _FILE)
        head = nn.Linear(hidden_size, head_size, bias="bias" in weights)
        expected = {name: one.shape for name, one in head.named_parameters()}
        if {name: one.shape for name, one in weights.items()} != expected:
            raise ArtError(
                f"not a head from {hidden_size} to {head_size} numbers",
                where=folder / _FILE,
                hint="have the retriever saved again",
            )
        head.load_state_dict(weights)
    return head
