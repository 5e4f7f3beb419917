"""What transformers raises for a model that it cannot load, in one line that names the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from art import files
from art.errors import ArtError, first_line, shown
from art.network import cache_unless_reachable
from art.weights.installed import PACKAGE_PREFIX

_MOST_LAYERS = 1000


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


@contextmanager
def without_load_report() -> Iterator[None]:
    """Keep transformers from listing the weights of a checkpoint that are left out.

    A table of poolers and heads alarms for nothing. Who loads has to refuse missing weights.
    """
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _model_fault(source: str, error: Exception, hint: str) -> ArtError:
    kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
    return ArtError(f"cannot load the model {source!r}: {kind}{first_line(error)}", hint=hint)


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
