"""Weights written, with one clear line where they cannot be."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors import SafetensorError

from art import __version__, files
from art.errors import ArtError


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


def written_by() -> dict[str, str]:
    """Return the versions of this package, Python and the libraries that write weights."""
    import transformers

    return {
        "art": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
    }


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
