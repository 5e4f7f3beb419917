"""Questions typed at a prompt or piped in, and their passages as text for a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from art.data.rows import text_value
from art.errors import DataError

if TYPE_CHECKING:
    from art.data.formats import Passage

_MOST_COLUMNS = 100  # longer lines are hard to read, however wide the terminal
_TEXT_LINES = 4
_INDENT = "    "


def is_interactive() -> bool:
    """Return whether a person types the questions and reads the answers."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def typed_questions() -> Iterator[str]:
    """Yield what is typed at a prompt until an empty line, Ctrl-D or Ctrl-C."""
    with suppress(ImportError):  # not on every platform
        import readline  # noqa: F401 (gives `input` a history and the arrow keys)
    while True:
        try:
            question = input("question> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not question:
            return
        yield text_value(question, "question", "at the prompt")


def piped_questions() -> Iterator[str]:
    """Yield one question a line of the standard input; blank lines are passed.

    Raises:
        DataError: a line is not UTF-8.
    """
    try:
        for number, line in enumerate(sys.stdin, start=1):
            if question := line.strip():
                yield text_value(question, "question", f"standard input:{number}")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8: {error}", where="standard input") from error


def ranking(hits: Iterable[tuple[float, Passage]], *, columns: int | None = None) -> str:
    """Return passages as numbered paragraphs: score, title, id, the beginning of the text.

    Args:
        hits: score and passage, best first.
        columns: width of the terminal; None to ask it.
    """
    width = min(columns or shutil.get_terminal_size().columns, _MOST_COLUMNS)
    blocks = []
    for rank, (score, passage) in enumerate(hits, start=1):
        head = f"{_visible(passage.title)} " if passage.title else ""
        lines = _wrapped(
            f"{head}[{_visible(passage.passage_id)}]", f"{rank:2}. {score:.3f}  ", width
        )
        text = _wrapped(_visible(passage.text), _INDENT, width)
        if len(text) > _TEXT_LINES:
            text = [*text[: _TEXT_LINES - 1], text[_TEXT_LINES - 1][: width - 2] + " …"]
        blocks.append("\n".join([*lines, *text]))
    return "\n".join(blocks)


def _wrapped(text: str, start: str, width: int) -> Sequence[str]:
    return textwrap.wrap(text, max(width, 20), initial_indent=start, subsequent_indent=_INDENT)


def _visible(text: str) -> str:
    # Documents may hold escape sequences, which a terminal would obey.
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())
