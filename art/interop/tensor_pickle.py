"""The objects of a foreign pickle without its code: tensors as places in a file, all else inert.

PyTorch's own restricted reader (`weights_only=True`) refuses a file as soon as it names anything it
does not know, such as the `argparse.Namespace` and the random states beside the weights of real
checkpoints, and reads optimiser states two or three times as large as the model. This reader knows
how tensors are written and nothing else. Every other name becomes a stand-in that keeps what it is
given; nothing is imported, and nothing in the file is called.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import IO, Any, NamedTuple

import torch

from art.errors import ArtError, shown

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# No checkpoint needs these. The reader would not run them either, but whoever opens the same file
# with something else would, and should hear of it.
_MODULES_THAT_ACT = {
    *("commands", "ctypes", "importlib", "nt", "os", "posix", "pty", "runpy", "shutil", "socket"),
    *("subprocess", "sys"),
}
_BUILTINS_THAT_ACT = {"__import__", "compile", "eval", "exec", "open"}


class StorageKind(NamedTuple):
    """What stands for a class of storages, such as `torch.FloatStorage`."""

    dtype: torch.dtype


class StoredNumbers(NamedTuple):
    """A run of numbers in the file that tensors are cut from.

    Attributes:
        key: its name in the file.
        dtype: type of the numbers.
        size: how many there are, as the pickle says.
    """

    key: str
    dtype: torch.dtype
    size: int


class StoredTensor(NamedTuple):
    """A tensor that has not been read; its fields are what the pickle says, unchecked."""

    numbers: StoredNumbers
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class StandIn:
    """What stands for an object of any class that this reader does not know.

    Attributes:
        name: of the class or function, with its module.
        state: what it was given after it was made, such as its attributes; None for nothing.
    """

    name = ""
    state: Any = None

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __call__(self, *given: Any) -> StandIn:
        """Return another one, as for a function that the file asks for."""
        return StandIn()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Take the item of a list and forget it."""

    def extend(self, items: Any) -> None:
        """Take the items of a list and forget them."""

    def add(self, item: Any) -> None:
        """Take the item of a set and forget it."""


class _OrderedItems(dict[Any, Any]):
    """What stands for `collections.OrderedDict`; attributes of its own are forgotten."""

    def __setstate__(self, state: Any) -> None:
        pass


class _TensorFunction:
    """What stands for PyTorch's functions that put a tensor together from its storage."""

    __slots__ = ()

    def __call__(
        self, numbers: Any, offset: Any, shape: Any, strides: Any, *others: Any
    ) -> StoredTensor:
        if not isinstance(numbers, StoredNumbers):
            raise pickle.UnpicklingError("a tensor without a storage")
        return StoredTensor(numbers, offset, tuple(shape), tuple(strides))


class _ParameterFunction:
    """What stands for PyTorch's function that makes a tensor a parameter."""

    __slots__ = ()

    def __call__(self, tensor: Any, *others: Any) -> Any:
        return tensor


class TensorUnpickler(pickle.Unpickler):
    """Reads one pickle of a checkpoint.

    Args:
        file: at the pickle's first byte; afterwards behind its last.
        path: of the checkpoint, for messages.

    Attributes:
        storages: the runs of numbers that it names, by key.
        strangers: the names that stand-ins took the place of.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file, encoding="latin-1")
        self.storages: dict[str, StoredNumbers] = {}
        self.strangers: dict[str, type[StandIn]] = {}
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name of the file; nothing is imported."""
        if module in ("torch", "torch.cuda") and name in _DTYPES:
            return StorageKind(_DTYPES[name])
        # A new one each time, so that nothing in the file can change what the next one does.
        if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _TensorFunction()
        if module == "torch._utils" and name == "_rebuild_parameter":
            return _ParameterFunction()
        if (module, name) == ("collections", "OrderedDict"):
            return _OrderedItems
        self._refuse_what_acts(module, name)
        full = f"{module}.{name}"
        if full not in self.strangers:
            self.strangers[full] = type("StandIn", (StandIn,), {"name": full})
        return self.strangers[full]

    def _refuse_what_acts(self, module: str, name: str) -> None:
        package = module.partition(".")[0]
        builtin = package in ("builtins", "__builtin__") and name in _BUILTINS_THAT_ACT
        if builtin or package in _MODULES_THAT_ACT:
            raise ArtError(
                f"names {shown(f'{module}.{name}')}, which runs programs and is in no checkpoint",
                where=self._path,
                hint="nothing of it was run; do not open this file with anything else",
            )

    def persistent_load(self, pid: Any) -> StoredNumbers:
        """Return the run of numbers that a persistent id names."""
        kind, storage, key, _, size = pid[:5]
        if kind != "storage" or not isinstance(storage, StorageKind):
            raise pickle.UnpicklingError("a storage of an unknown type")
        if len(pid) > 5 and pid[5] is not None:
            raise pickle.UnpicklingError("a storage that is part of another")
        if not isinstance(key, str) or type(size) is not int or size < 0:
            raise pickle.UnpicklingError("a storage without a name or a size")
        found = StoredNumbers(key, storage.dtype, size)
        if self.storages.setdefault(key, found) != found:
            raise pickle.UnpicklingError("a storage of two sizes")
        return found


def read_objects(file: IO[bytes], path: Path) -> tuple[Any, TensorUnpickler]:
    """Read one pickle and return its object and who read it; `file` is then behind it.

    Args:
        file: can be sought in.
        path: of the checkpoint, for messages.

    Raises:
        ArtError: it is no pickle, or one that no checkpoint contains.
    """
    start = file.seek(0, io.SEEK_CUR)
    reader = TensorUnpickler(file, path)
    try:
        _check_memory(file, start)
        file.seek(start)
        return reader.load(), reader
    except ArtError:
        raise
    except Exception as error:
        raise ArtError(
            f"not a checkpoint that can be read: {str(error) or type(error).__name__}",
            where=path,
            hint="get it again; is it the file that the training program wrote?",
        ) from error


def _check_memory(file: IO[bytes], start: int) -> None:
    """Refuse a pickle whose few bytes would fill memory: places in its memo that it never uses."""
    highest = 0
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in ("PUT", "BINPUT", "LONG_BINPUT"):
            highest = max(highest, int(argument or 0))
    if highest > file.seek(0, io.SEEK_CUR) - start:
        raise pickle.UnpicklingError("a memo larger than the pickle")


def read_bytes_objects(contents: bytes, path: Path) -> tuple[Any, TensorUnpickler]:
    """Read a pickle from memory, as `read_objects` does."""
    return read_objects(io.BytesIO(contents), path)


def fields_of(value: Any) -> dict[str, Any]:
    """Return the named values of a dict or of an object that a stand-in took the place of.

    The settings objects of omegaconf, which DPR's checkpoints carry, keep each value in an object
    of its own.
    """
    state = value.state if isinstance(value, StandIn) else value
    if not isinstance(state, dict):
        return {}
    content = state.get("_content")
    found = content if isinstance(content, dict) else state
    return {name: _value(one) for name, one in found.items() if isinstance(name, str)}


def _value(one: Any) -> Any:
    inner = one.state if isinstance(one, StandIn) else None
    return inner["_val"] if isinstance(inner, dict) and "_val" in inner else one
