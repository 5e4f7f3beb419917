"""A model that the user named, as a folder or hub name that `from_pretrained` can load.

The two kinds that it reads badly (a GGUF file, a model inside an installed package) become an
ordinary Hugging Face folder, converted once and kept in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from art import files
from art.errors import ArtError
from art.weights.fingerprints import sampled_file
from art.weights.installed import PACKAGE_PREFIX, packaged_files
from art.weights.loading import loading_model
from art.weights.saving import save_model

# What lists the parts of a sentence-transformers model.
MODULES_FILE = "modules.json"
# Of a model on the hub: the same weights for other libraries.
_LEFT_OUT = ["*.onnx", "*.onnx_data", "*.h5", "*.ot", "*.msgpack", "*.gguf", "openvino/*", "onnx/*"]

# Part of every cache key: raise it when a conversion writes something else.
_CONVERSION = "1"


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
    key = files.fingerprint(_CONVERSION, "gguf", *sampled_file(gguf))
    return str(converted_once(key, lambda beside: _convert_gguf(source, gguf, beside), cache=cache))


def _is_path(source: str) -> bool:
    return source.startswith(("/", ".", "~")) or source.count("/") > 1  # a hub name has one at most


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


def _gguf_file(source: str) -> Path | None:
    if not source.lower().endswith(".gguf"):
        return None
    if not Path(source).is_file():
        raise ArtError("no such GGUF file", where=source, hint="download it and give its path")
    return Path(source)


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
