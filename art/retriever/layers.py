"""The layers of an encoder, one behind the other: keep only the first, or train only the last."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from art.errors import ConfigError
from art.retriever.backbones import probe_ids
from art.weights import loading_model


class Layers(NamedTuple):
    """Where a model's layers are.

    Attributes:
        owner: the module that holds them.
        name: under which it does.
        layers: the first is next to the embeddings.
    """

    owner: nn.Module
    name: str
    layers: nn.ModuleList


def find_layers(backbone: PreTrainedModel, *, asked: str) -> Layers:
    """Return where a model's layers are.

    Args:
        backbone: the model.
        asked: what needs them, as `num_layers is 3`, for messages.

    Raises:
        ConfigError: the model has no layers, has them in several lists, or the same one several
            times.
    """
    config = backbone.config
    total = getattr(config, "num_hidden_layers", None)
    owners = [
        (owner, names)
        for owner in backbone.modules()
        if (names := [name for name, one in owner.named_children() if _is_list_of(one, total)])
    ]
    if not owners:
        raise ConfigError(f"{asked}, but {config.model_type} has no layers of its own to count")
    owner, names = owners[0]  # the outermost: the others, if any, are inside its layers
    if len(names) > 1:
        raise ConfigError(
            f"{asked}, but {config.model_type} has its layers in pieces ({', '.join(names)})"
        )
    layers = getattr(owner, names[0])
    return Layers(owner, names[0], layers)


def _is_list_of(module: nn.Module, count: int | None) -> bool:
    return isinstance(module, nn.ModuleList) and len(module) == count


def cut_layers(backbone: PreTrainedModel, num_layers: int) -> None:
    """Keep only the first layers; the config follows, and a final norm stays.

    Raises:
        ConfigError: the model's layers cannot be told apart, or are fewer.
    """
    owner, name, layers = find_layers(backbone, asked=f"num_layers is {num_layers}")
    config, total = backbone.config, len(layers)
    _check_count("num_layers", num_layers, total)
    setattr(owner, name, layers[:num_layers])
    # Newer configs also list one entry per layer (`layer_types`), and check that lengths agree.
    changed: dict[str, Any] = {
        field: value[:num_layers]
        for field, value in config.to_dict().items()
        if isinstance(value, list) and "layer" in field and len(value) == total
    }
    for field, value in changed.items():
        setattr(config, field, value)
    config.num_hidden_layers = num_layers


def train_upper_layers(tower: nn.Module, backbone: PreTrainedModel, num_layers: int) -> None:
    """Turn `requires_grad` off for all but the last layers and what stands behind them.

    What all layers share, such as biases of relative positions, is below them: with its gradient
    the backward pass would go through every layer.

    Args:
        tower: called as `tower(ids, mask)`, in evaluation mode.
        backbone: the model in it.
        num_layers: how many learn; all of them leave the embeddings as they are.

    Raises:
        ConfigError: the model's layers cannot be told apart, or are fewer.
    """
    asked = f"train_layers is {num_layers}"
    layers = find_layers(backbone, asked=asked).layers
    _check_count("train_layers", num_layers, len(layers))
    learning = {*layers[-num_layers:].parameters(), *_behind(tower, backbone, layers, asked)}
    for parameter in tower.parameters():
        if parameter not in learning:
            parameter.requires_grad_(False)


def _behind(
    tower: nn.Module, backbone: PreTrainedModel, layers: nn.ModuleList, asked: str
) -> list[nn.Parameter]:
    """Return the parameters that only what comes out of the last layer reaches."""
    order: list[int] = []

    def note(layer: nn.Module, _: Any, output: Any) -> Any:
        order.append(next(i for i, one in enumerate(layers) if one is layer))
        return _detached(output) if layer is layers[-1] else output

    hooks = [layer.register_forward_hook(note) for layer in layers]
    ids = probe_ids(backbone)
    try:
        with loading_model(backbone.name_or_path):
            vectors = tower(ids, torch.ones_like(ids, dtype=torch.bool))
    finally:
        for hook in hooks:
            hook.remove()
    behind: list[nn.Parameter] = []
    if vectors.requires_grad:
        named = [one for one in tower.parameters() if one.requires_grad]
        gradients = torch.autograd.grad(vectors.sum(), named, allow_unused=True)
        behind = [one for one, found in zip(named, gradients, strict=True) if found is not None]
    if order != [*range(len(layers))] or not {*layers.parameters()}.isdisjoint(behind):
        raise ConfigError(
            f"{asked}, but the layers of {backbone.config.model_type} do not follow one another"
        )
    return behind


def _detached(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.detach()
    return tuple(map(_detached, output)) if type(output) is tuple else output


def _check_count(setting: str, count: int, total: int) -> None:
    if not 1 <= count <= total:
        raise ConfigError(f"{setting} is {count}, but the model has {total}")
