"""The layers behind a tower's pooling: one linear layer or several, and the file that keeps them.

Several layers, or one with an activation, are an `nn.Sequential` in which linear layers and
activations take turns; one linear layer alone is an `nn.Linear`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from art.errors import ArtError
from art.retriever.settings import Activation
from art.weights import loading_model

Projection = nn.Linear | nn.Sequential

_FILE = "projection.safetensors"
_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "identity": nn.Identity,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
}


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


def stacked(layers: Sequence[nn.Linear], activations: Sequence[Activation]) -> Projection:
    """Return linear layers, each with the activation behind it, as one projection.

    Args:
        layers: at least one, from the hidden size to D.
        activations: as many, in the same order.
    """
    if len(layers) == 1 and activations[0] == "identity":
        return layers[0]
    pairs = zip(layers, activations, strict=True)
    return nn.Sequential(*(one for layer, name in pairs for one in (layer, _ACTIVATIONS[name]())))


def layers_of(projection: Projection) -> list[tuple[nn.Linear, nn.Module]]:
    """Return each linear layer of a projection with the activation behind it."""
    if isinstance(projection, nn.Linear):
        return [(projection, nn.Identity())]
    layers = list(projection)
    return [
        (layer, activation)
        for layer, activation in zip(layers[::2], layers[1::2], strict=True)
        if isinstance(layer, nn.Linear)  # as all are; this tells the type checker
    ]


def output_size(projection: Projection) -> int:
    """Return D, the size of what comes out of a projection."""
    return layers_of(projection)[-1][0].out_features


def save_projection(projection: Projection, folder: Path) -> None:
    """Write a projection into a tower's folder."""
    tensors = {name: one.detach().contiguous() for name, one in projection.named_parameters()}
    save_file(tensors, folder / _FILE)


def read_projection(
    folder: Path,
    hidden_size: int,
    projection_size: int | None,
    activations: Sequence[Activation] = (),
) -> Projection | None:
    """Return the projection in a tower's folder, None where `projection_size` is.

    Args:
        folder: of the tower.
        hidden_size: of its backbone.
        projection_size: of its vectors.
        activations: behind each of its layers; empty for one linear layer.

    Raises:
        ArtError: it cannot be read, or is of other sizes.
    """
    if projection_size is None:
        return None
    with loading_model(str(folder)):
        weights = load_file(folder / _FILE)
        names = [f"{2 * i}." for i in range(len(activations))] or [""]
        layers = [_layer_of(weights, name) for name in names]
        sizes = [hidden_size, *(one.out_features for one in layers)]
        projection = stacked(layers, activations or ["identity"])
        expected = {name: one.shape for name, one in projection.named_parameters()}
        if (
            {name: one.shape for name, one in weights.items()} != expected
            or sizes[:-1] != [one.in_features for one in layers]
            or sizes[-1] != projection_size
        ):
            raise ArtError(
                f"not a projection from {hidden_size} to {projection_size} numbers",
                where=folder / _FILE,
                hint="have the retriever saved again",
            )
        projection.load_state_dict(weights)
    return projection


def _layer_of(weights: dict[str, Tensor], prefix: str) -> nn.Linear:
    """Return a layer of the sizes that its weights have."""
    weight = weights.get(f"{prefix}weight", torch.empty(0))
    out_features, in_features = weight.shape if weight.ndim == 2 else (0, 0)
    return nn.Linear(in_features, out_features, bias=f"{prefix}bias" in weights)
