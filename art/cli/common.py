"""What several commands share: options, and the processes of a job."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from art.errors import ArtError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from art.data.rows import BadRows
    from art.retriever.encoders import Retriever

Rows = TypeVar("Rows")

QuestionsFile = Annotated[
    Path, typer.Option("--questions", help="Questions: .txt, .csv, .tsv, .jsonl, .json, a dataset.")
]
RetrieverFolder = Annotated[
    str, typer.Option("--retriever", help="A retriever's folder, or any model to start from.")
]
PassagesFile = Annotated[
    Path, typer.Option("--passages", help="Corpus: .tsv, .jsonl, a BEIR folder; .gz; a dataset.")
]
SkipBadRows = Annotated[
    bool,
    typer.Option("--skip-bad-rows", help="Go on without malformed rows, counted and listed."),
]
BM25Language = Annotated[
    str | None,
    typer.Option(
        "--language",
        help="BM25's stop words and stemmer, such as german, or none; where not given english, or "
        "none for passages plainly in something else.",
    ),
]
OnCpu = Annotated[bool, typer.Option("--cpu", help="Stay on the CPU where there is a GPU.")]

# Of a retriever, by name; what is not given is the folder's or the model's own.
_SETTINGS: dict[str, Any] = {
    "pooling": Annotated[
        Literal["cls", "mean", "last"] | None,
        typer.Option(help="How token vectors become one; the retriever's own, as all that follow."),
    ],
    "normalize": Annotated[
        bool | None,
        typer.Option("--normalize/--no-normalize", help="Scale vectors to length 1, or not."),
    ],
    "question_prefix": Annotated[str | None, typer.Option(help="Text before every question.")],
    "passage_prefix": Annotated[str | None, typer.Option(help="Text before every passage.")],
    "question_length": Annotated[int | None, typer.Option(min=1, help="Tokens of a question.")],
    "passage_length": Annotated[int | None, typer.Option(min=1, help="Tokens of a passage.")],
}


def text_option(value: str, option: str) -> str:
    """Return an option that is text: what a shell passes is UTF-8, whatever the locale says.

    Raises:
        ArtError: it is not UTF-8.
    """
    try:
        return value.encode(errors="surrogateescape").decode()
    except UnicodeError as error:
        raise ArtError("not UTF-8", where=option, hint="set the terminal to UTF-8") from error


def takes_retriever_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a retriever's settings to a command.

    Args:
        command: whose argument `settings` gets those that were given, by name.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.name != "settings"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _SETTINGS.items()
    ]
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + added

    @functools.wraps(command)
    def with_settings(**options: Any) -> None:
        settings = {name: options.pop(name) for name in _SETTINGS}
        given = {
            name: text_option(value, f"--{name.replace('_', '-')}")
            if isinstance(value, str)
            else value
            for name, value in settings.items()
            if value is not None
        }
        command(**options, settings=given)

    # What typer reads
    with_settings.__annotations__ = {one.name: one.annotation for one in parameters}
    with_settings.__dict__["__signature__"] = signature.replace(parameters=parameters)
    return with_settings


@contextmanager
def processes(cpu: bool) -> Iterator[torch.device]:
    """Join the other processes, if a launcher started several, and leave them at the end."""
    from art import distributed

    try:
        yield distributed.start(cpu=cpu)
    finally:
        distributed.stop()


def read_rows(
    read: Callable[[Path, BadRows | None], Rows], source: Path, *, skip_bad_rows: bool
) -> Rows:
    """Read a file with `read_questions`, `read_qrels` or `read_run`; say which rows are skipped."""
    from art.data.rows import BadRows

    bad_rows = BadRows()
    try:
        return read(source, bad_rows if skip_bad_rows else None)
    finally:
        notify_skipped(bad_rows)


def notify_skipped(bad_rows: BadRows) -> None:
    """Say on stderr which rows were skipped, if any; one process of a job says it."""
    if bad_rows.count and not int(os.environ.get("RANK", "0")):
        print(bad_rows.report(), file=sys.stderr)


def say_what_is_cut(asking: Retriever | NDArray[np.float32], texts: list[str]) -> list[str]:
    """Say how many questions are cut, unless vectors stand for them; return what was said."""
    import numpy as np

    from art import distributed
    from art.data.cutting import cut_questions
    from art.errors import notify

    if isinstance(asking, np.ndarray) or not distributed.is_main():
        return []
    said = [*cut_questions(asking.question_template, texts)]
    for note in said:
        notify(note)
    return said
