"""Model files before they are models: where they are, GGUF files made plain, fingerprints.

The retriever and the teacher both start from a name the user typed. `resolve_model` turns the two
kinds that `from_pretrained` reads badly (a GGUF file, a model inside an installed package) into an
ordinary Hugging Face folder, converted once and kept in the cache.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import metadata
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor

from art import files
from art.errors import ArtError, first_line, shown
from art.network import cache_unless_reachable

PACKAGE_PREFIX = "pip:"

# What lists the parts of a sentence-transformers model.
MODULES_FILE = "modules.json"
# Of a model on the hub: the same weights for other libraries.
_LEFT_OUT = ["*.onnx", "*.onnx_data", "*.h5", "*.ot", "*.msgpack", "*.gguf", "openvino/*", "onnx/*"]

# Part of every cache key: raise it when a conversion writes something else.
_CONVERSION = "1"

# A folder up to this size is fingerprinted whole (about a second), a larger one by samples.
_WHOLE_BYTES = 1 << 30
_SAMPLE_BYTES = 16 << 10
_MOST_LAYERS = 1000
_SIDE_FILES = re.compile(
    r"(config|.*tokens?_map|.*tokens|tokenizer.*|vocab|merges|chat_template)\..*"
)


def resolve_model(source: str, *, cache: Path | None = None) -> str:
    """Return what `from_pretrained` can load in place of the model the user named.

    Args:
        source: a hub name or a model folder (returned as it is); a `.gguf` file or `pip:NAME`, an
            installed distribution that carries one (converted once, dequantised, to a folder of
            bfloat16 safetensors with its tokenizer); `pip:NAME` without a GGUF file is returned as
            it is. A distribution that carries the folder of a sentence-transformers model stands
            for that folder.
        cache: where converted models are kept; `files.cache_folder()` when None.

    Raises:
        ArtError: the file or distribution is not there, or transformers cannot convert it.
    """
    gguf = _packaged_gguf(source) if source.startswith(PACKAGE_PREFIX) else _gguf_file(source)
    if gguf is None:
        if _is_path(source) and not Path(source).exists():
            raise ArtError("no such model folder", where=source, hint="check the path")
        return _packaged_folder(source) if source.startswith(PACKAGE_PREFIX) else source
    key = files.fingerprint(_CONVERSION, "gguf", *_sampled_file(gguf))
    return str(converted_once(key, lambda beside: _convert_gguf(source, gguf, beside), cache=cache))


def converted_once(key: str, convert: Callable[[Path], None], *, cache: Path | None = None) -> Path:
    """Return the cached folder of a converted model, converting it where it is not there yet.

    Args:
        key: stands for the source's contents and the conversion.
        convert: fills an empty folder.
        cache: where converted models are kept; `files.cache_folder()` when None.

    Raises:
        ArtError: the conversion failed, or a file cannot be written.
    """
    folder = (cache or files.cache_folder()) / "models" / key
    if not folder.exists():
        with files.lock(folder.with_name(f".{key}.lock")):
            if not folder.exists():  # nobody else converted it while this process waited
                with files.atomic_folder(folder) as beside:
                    convert(beside)
    return folder


def _is_path(source: str) -> bool:
    return source.startswith(("/", ".", "~")) or source.count("/") > 1  # a hub name has one at most


def is_installed(distribution: str) -> bool:
    """Return whether a distribution of this name is installed."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def packaged_files(distribution: str) -> list[Path]:
    """Return the files of an installed distribution, sorted.

    Raises:
        ArtError: no such distribution is installed in this environment.
    """
    try:
        listed = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        raise ArtError(
            f"the package {distribution!r} is not installed in this environment",
            hint=f"install it with `pip install --no-deps {distribution}`",
        ) from None
    paths = (Path(str(one.locate())) for one in listed)
    return sorted(path for path in paths if path.is_file())


@contextmanager
def loading_model(source: str) -> Iterator[None]:
    """Turn what transformers raises for a model it cannot load into one line that names the model.

    Raises:
        ArtError: the block raised one of the faults that a model name, its files, a missing
            package or a missing network cause.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()  # a bar per file of a model would drown the job's own
    files.require_utf8(source)  # safetensors and tokenizers open no other
    _refuse_climbing(Path(source))
    is_here = Path(source).exists() or source.startswith(PACKAGE_PREFIX)
    try:
        with nullcontext() if is_here else cache_unless_reachable():
            yield
    except ArtError:
        raise
    except ImportError as error:
        hint = "install the package it names"
        if "gguf" in str(error).lower():
            hint = "install it with `pip install 'art-retriever[gguf]'`"
        raise _model_fault(source, error, hint) from error
    except UnpicklingError as error:
        raise ArtError(
            f"cannot load the model {source!r}: its checkpoint is a pickle of more than tensors,"
            " which could run any code",
            hint="convert it to safetensors",
        ) from error
    except Exception as error:
        if is_here:
            hint = "is it a complete model that this version of transformers knows?"
        else:
            hint = (
                "check the spelling; without a network it must be in the Hugging Face cache"
                " already, or be the path of a folder"
            )
        raise _model_fault(source, error, hint) from error


def load_tokenizer(folder: str | Path, source: str | None = None) -> Any:
    """Load the tokenizer of a model.

    Args:
        folder: its folder or hub name.
        source: what complaints call the model; as `folder` where not given.

    Raises:
        ArtError: there is none, it is not reachable, or its settings contradict each other.
    """
    with loading_model(source or str(folder)):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        tokenizer("a")  # some of its settings are looked at only when it reads
    return tokenizer


def check_size(config: Any, source: str) -> None:
    """Raise an ArtError if a model's config names more layers than any model has.

    transformers would build them all, for hours, before it looks for their weights.
    """
    num_layers = getattr(config, "num_hidden_layers", 0)
    if not isinstance(num_layers, int) or num_layers > _MOST_LAYERS:
        raise ArtError(
            f"the config of {source!r} names {shown(num_layers)} layers",
            hint="get or save it again",
        )


def _refuse_climbing(folder: Path) -> None:
    """Refuse a folder whose list of weight files names one that is not in the folder itself."""
    for index in sorted(folder.glob("*.index.json")) if folder.is_dir() else ():
        listed = files.read_json(index)
        names = listed.get("weight_map") if isinstance(listed, dict) else None
        for name in names.values() if isinstance(names, dict) else ():
            if not isinstance(name, str) or Path(name).name != name or name == "..":
                raise ArtError(
                    f"names weights outside its folder: {shown(name)}",
                    where=index,
                    hint="do not use this model, or repair the list",
                )


@contextmanager
def saving_weights(folder: Path) -> Iterator[None]:
    """Turn what PyTorch and safetensors raise where a file cannot be written into one clear line.

    Raises:
        ArtError: the block could not write its weights.
    """
    files.require_utf8(folder)
    try:
        yield
    except (RuntimeError, SafetensorError) as error:  # neither passes the OSError on
        if (inner := files.quoted_error(error)) is not None:
            raise files.cannot_write(inner, folder) from error
        reason = str(error).splitlines()[0]
        raise ArtError(f"cannot write the weights: {reason}", where=folder) from error
    except Exception as error:  # of the tokenizers library, which has no other class for it
        inner = files.quoted_error(error)
        if type(error) is not Exception or inner is None:
            raise
        raise files.cannot_write(inner, folder) from error


def save_tensors(state: Any, path: Path) -> None:
    """Write what `torch.load(weights_only=True)` reads.

    Raises:
        OSError: the file cannot be written; PyTorch by itself would not say why.
    """
    with open(path, "wb") as file:
        sink = _Sink(file)
        try:
            torch.save(state, cast(IO[bytes], sink))  # it only writes and flushes
        except RuntimeError:
            if sink.refusal is not None:
                raise sink.refusal from None
            raise


class _Sink:
    """A file that remembers why it could not be written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.refusal: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.refusal = self.refusal or error
            raise

    def flush(self) -> None:
        self._file.flush()


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write an ordinary Hugging Face folder.

    Raises:
        ArtError: it cannot be written.
    """
    with saving_weights(folder):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _model_fault(source: str, error: Exception, hint: str) -> ArtError:
    kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
    return ArtError(f"cannot load the model {source!r}: {kind}{first_line(error)}", hint=hint)


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
            sampled = [files.fingerprint_file(path)] if whole else list(_sampled_file(path))
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


def _sampled_file(path: Path) -> Iterator[bytes]:
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


def _packaged_gguf(source: str) -> Path | None:
    distribution = source.removeprefix(PACKAGE_PREFIX)
    found = [path for path in packaged_files(distribution) if path.suffix == ".gguf"]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ArtError(
            f"the package {distribution!r} carries several models: {names}",
            hint="name one by the path of its .gguf file",
        )
    return found[0] if found else None


def _packaged_folder(source: str) -> str:
    """Return the folder of the sentence-transformers model in a distribution, else `source`."""
    distribution = source.removeprefix(PACKAGE_PREFIX)
    found = [path.parent for path in packaged_files(distribution) if path.name == MODULES_FILE]
    if len(found) > 1:
        raise ArtError(
            f"the package {distribution!r} carries several models: {', '.join(map(str, found))}",
            hint="name one by the path of its folder",
        )
    return str(found[0]) if found else source


def model_folder(source: str, file: str) -> Path | None:
    """Return the local folder of a model if it has a file, downloaded where it is a hub name.

    Args:
        source: a model folder or a hub name.
        file: a path within it.

    Returns:
        None where the model lacks the file or is not to be had.

    Raises:
        ArtError: the hub broke off, or the cache holds only part of the model.
    """
    if Path(source).is_dir():
        return Path(source) if (Path(source) / file).is_file() else None
    if source.startswith(PACKAGE_PREFIX):
        return None
    with loading_model(source):
        from huggingface_hub import snapshot_download
        from transformers.utils import cached_file

        quietly = {
            f"_raise_exceptions_for_{kind}": False
            for kind in ("missing_entries", "connection_errors", "gated_repo")
        }
        try:
            found = cached_file(source, file, **quietly)
        except OSError:  # no such model, which whoever loads it will say better
            return None
        if found is None:
            return None
        twice = cached_file(source, "model.safetensors", **quietly) is not None
        left_out = [*_LEFT_OUT, *(["pytorch_model*.bin"] if twice else [])]
        return Path(snapshot_download(source, ignore_patterns=left_out))


def _gguf_file(source: str) -> Path | None:
    if not source.lower().endswith(".gguf"):
        return None
    if not Path(source).is_file():
        raise ArtError("no such GGUF file", where=source, hint="download it and give its path")
    return Path(source)


def _convert_gguf(source: str, gguf: Path, folder: Path) -> None:
    with loading_model(source):
        model, tokenizer = _load_gguf(gguf)
    save_model(model, tokenizer, folder)


def _load_gguf(gguf: Path) -> tuple[Any, Any]:
    import transformers

    found: dict[str, Any] = {"gguf_file": gguf.name}
    config = transformers.AutoConfig.from_pretrained(gguf.parent, **found)
    tokenizer = transformers.AutoTokenizer.from_pretrained(gguf.parent, **found)
    # transformers 5.17 takes the first for the second with byte-level vocabularies.
    for name in ("bos_token", "eos_token", "pad_token"):
        token_id = getattr(config, f"{name}_id", None)
        if token_id is not None:
            setattr(tokenizer, name, tokenizer.convert_ids_to_tokens(token_id))
    # Newer versions keep the blocks packed unless told otherwise, and cannot save them; older ones
    # know no such config and always unpack.
    packed = getattr(transformers, "GgufConfig", None)
    if packed is not None:
        found["quantization_config"] = packed(dequantize=True)
    kind = (
        transformers.AutoModelForSeq2SeqLM
        if config.is_encoder_decoder
        else transformers.AutoModelForCausalLM
    )
    model = kind.from_pretrained(gguf.parent, config=config, dtype=torch.bfloat16, **found)
    return model, tokenizer
