"""A device that is none: its tensors compute on the CPU, and raise where those of a GPU would.

A tensor that has been moved to `PRETEND` hides one on the CPU. Operations look through it, but
first check what CUDA checks: the tensors of one operation are on one device. It goes by the name of
torch's `meta` device, the only one besides the CPU that autograd runs everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from transformers import PreTrainedModel

PRETEND = torch.device("meta")

# Copies between devices are what these are for.
_COPIES = {"aten::_to_copy", "aten::copy_"}
# Indices may stay on the CPU; what is indexed, and what is written there, may not.
_INDEXING = {"aten::index", "aten::_unsafe_index", "aten::index_put", "aten::index_put_"}
_INDEXING |= {"aten::_index_put_impl_", "aten::_unsafe_index_put"}


class MixedDevicesError(RuntimeError):
    """An operation met tensors of both devices."""


class PretendTensor(torch.Tensor):
    """A tensor on `PRETEND`; `hidden` is what it computes with."""

    hidden: Tensor

    @staticmethod
    def __new__(cls, hidden: Tensor) -> PretendTensor:
        with torch.inference_mode(hidden.is_inference()):
            made = torch.Tensor._make_wrapper_subclass(
                cls,
                hidden.size(),
                strides=hidden.stride(),
                storage_offset=hidden.storage_offset(),
                dtype=hidden.dtype,
                device=PRETEND,
            )
        made.hidden = hidden
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None) -> Any:
        return _run(operation, args, kwargs or {})

    def __repr__(self) -> str:
        return f"PretendTensor({self.hidden!r})"

    def __getitem__(self, index: Any) -> Tensor:
        return super().__getitem__(_as_tensors(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_as_tensors(index), value)

    def __reduce_ex__(self, protocol: int) -> Any:
        return self.hidden.__reduce_ex__(protocol)  # a file has no devices but the CPU


class _Mode(TorchDispatchMode):
    """Sees the operations that have no pretending tensor among their arguments, yet."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None) -> Any:
        return _run(operation, args, kwargs or {})


@contextmanager
def pretending() -> Iterator[torch.device]:
    """Give a device to which tensors and modules can be moved inside this block."""
    autocast, load = torch.autocast, PreTrainedModel.from_pretrained.__func__

    def autocasting(device_type: str, **settings: Any) -> torch.autocast:
        return autocast("cpu" if device_type == PRETEND.type else device_type, **settings)

    def loading(cls: type, *args: Any, **settings: Any) -> Any:
        with _disable_current_modes():  # models are first made without data, on torch's own `meta`
            return load(cls, *args, **settings)

    with (
        mock.patch.object(torch, "autocast", autocasting),
        mock.patch.object(PreTrainedModel, "from_pretrained", classmethod(loading)),
        _Mode(),
    ):
        yield PRETEND


def _run(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = operation._schema.name
    # torch.tensor(…, device=PRETEND) does not ask the mode; of no numbers, nothing is lost by that.
    args, kwargs = tree_map(_adopted, args), tree_map(_adopted, kwargs)
    tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
    if torch.is_inference_mode_enabled():
        # Composite operations come whole then, with devices wherever they please.
        with _Mode():
            if (parts := operation.decompose(*args, **kwargs)) is not NotImplemented:
                return parts
    in_place = name.endswith("_") and not name.endswith("__") and isinstance(args[0], Tensor)
    if name not in _COPIES:
        _check_devices(operation, args, tensors, written=args[0] if in_place else None)
    wanted = kwargs.get("device")
    there = any(map(_pretends, tensors)) if wanted is None else torch.device(wanted) == PRETEND
    cpu = {} if wanted is None else {"device": torch.device("cpu")}
    results = operation(*tree_map(_revealed, args), **tree_map(_revealed, kwargs | cpu))
    if in_place:
        return args[0]
    return tree_map(_hidden, results) if there else results


def _check_devices(
    operation: Any, args: tuple[Any, ...], tensors: list[Tensor], *, written: Any
) -> None:
    name = operation._schema.name
    if name in _INDEXING and _pretends(args[0]):
        tensors = [args[0], *args[2:3]]
    if len({_pretends(one) for one in tensors}) < 2:
        return
    # A single number may come from the CPU, as long as nothing is written to it.
    lenient = name in _INDEXING or torch.Tag.pointwise in operation.tags
    for one in tensors:
        if not _pretends(one) and (one.dim() > 0 or one is written or not lenient):
            shapes = ", ".join(f"{tuple(t.shape)} on {t.device.type}" for t in tensors)
            raise MixedDevicesError(f"{name} mixes devices: {shapes}")


def _adopted(one: Any) -> Any:
    if not isinstance(one, Tensor) or one.device != PRETEND or _pretends(one):
        return one
    assert not one.numel(), "torch made a tensor without data on the device that is none"
    return PretendTensor(torch.empty(one.shape, dtype=one.dtype))


def _pretends(one: Any) -> bool:
    return isinstance(one, PretendTensor)


def _revealed(one: Any) -> Any:
    return one.hidden if isinstance(one, PretendTensor) else one


def _hidden(one: Any) -> Any:
    return PretendTensor(one) if isinstance(one, Tensor) else one


def _as_tensors(index: Any) -> Any:
    # torch would make a tensor of an array without asking the mode.
    if isinstance(index, tuple):
        return tuple(map(_as_tensors, index))
    return torch.from_numpy(index) if isinstance(index, np.ndarray) else index
