"""What tells one set of weights from another: their bytes, or samples of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from art import files
from art.errors import ArtError
from art.weights.loading import loading_model

# A folder up to this size is fingerprinted whole (about a second), a larger one by samples.
_WHOLE_BYTES = 1 << 30
_SAMPLE_BYTES = 16 << 10
_SIDE_FILES = re.compile(
    r"(config|.*tokens?_map|.*tokens|tokenizer.*|vocab|merges|chat_template)\..*"
)


def fingerprint_tensors(named_tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return the fingerprint of names, dtypes, shapes and bytes, one tensor in memory at a time."""

    def blocks() -> Iterator[bytes | memoryview]:
        for name, tensor in named_tensors:
            yield f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode()
            flat = tensor.detach().cpu().contiguous().reshape(-1)
            yield flat.view(torch.uint8).numpy().data

    return files.fingerprint_blocks(blocks())


def fingerprint_folder(model: str | Path) -> str:
    """Return the fingerprint of a model folder: its weights, its config and its tokenizer.

    Weights above 1 GiB are read by samples: every safetensors header, and of each tensor the first,
    middle and last 16 KiB (smaller tensors whole).

    Args:
        model: a model folder, or a hub name whose files are in the Hugging Face cache.

    Raises:
        ArtError: there is no such folder or cached model, or it holds no weights.
    """
    folder = _local_folder(model)
    entries = sorted(path for path in folder.iterdir() if path.is_file())
    weights = [path for path in entries if path.suffix == ".safetensors"]
    weights = weights or [path for path in entries if path.suffix == ".bin"]
    if not weights:
        raise ArtError("no weights (*.safetensors or *.bin) in this folder", where=folder)
    whole = sum(path.stat().st_size for path in weights) <= _WHOLE_BYTES
    parts: list[bytes | str] = []
    for path in entries:
        if path in weights:
            sampled = [files.fingerprint_file(path)] if whole else list(sampled_file(path))
            parts += [path.name, *sampled]
        elif _SIDE_FILES.fullmatch(path.name) or path.suffix == ".model":
            parts += [path.name, path.read_bytes()]
    return files.fingerprint(*parts)


def _local_folder(model: str | Path) -> Path:
    if Path(model).is_dir():
        return Path(model)
    from transformers.utils import cached_file

    with loading_model(str(model)):
        return Path(cached_file(str(model), "config.json", local_files_only=True)).parent


def sampled_file(path: Path) -> Iterator[bytes]:
    """Yield what stands for a large file: its size, and bytes from many places of it."""
    # A fine-tuned copy of a model has the same header and size, and other bytes in most tensors.
    size = path.stat().st_size
    with open(path, "rb") as file:
        yield str(size).encode()
        for start, end in _tensor_spans(path, size):
            middle = (start + end - _SAMPLE_BYTES) // 2
            last = end - _SAMPLE_BYTES
            for offset in sorted({max(at, start) for at in (start, middle, last)}):
                file.seek(offset)
                yield file.read(min(_SAMPLE_BYTES, end - offset))


def _tensor_spans(path: Path, size: int) -> list[tuple[int, int]]:
    if path.suffix != ".safetensors":
        step = max(size // 256, _SAMPLE_BYTES)
        return [(start, min(start + step, size)) for start in range(0, size, step)]
    with open(path, "rb") as file:
        begin = 8 + int.from_bytes(file.read(8), "little")
        try:
            if begin > size:
                raise ValueError(f"a header of {begin - 8} bytes in a file of {size}")
            header: dict[str, Any] = json.loads(file.read(begin - 8))
            offsets = [
                (int(start), int(end))
                for name, entry in header.items()
                if name != "__metadata__"
                for start, end in [entry["data_offsets"]]
            ]
            if any(not 0 <= start <= end <= size - begin for start, end in offsets):
                raise ValueError("a tensor lies outside the file")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ArtError(
                f"not a safetensors file: {error}", where=path, hint="get or save it again"
            ) from error
    header_spans = [(at, min(at + _SAMPLE_BYTES, begin)) for at in range(0, begin, _SAMPLE_BYTES)]
    return header_spans + [(begin + start, begin + end) for start, end in sorted(offsets)]
