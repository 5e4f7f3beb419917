"""`art report`: what runs have come to, for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from art.errors import ArtError

_PAGE, _PICTURE = (".html", ".htm"), ".svg"


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run folders.")],
    output: Annotated[
        Path, typer.Option(help="A page, .html, or the curve alone, .svg; overwritten.")
    ],
) -> None:
    """Draw runs, finished or not, as one HTML page: metrics, curves, questions won and lost.

    An output that ends in .svg gets the picture of the metrics and the loss alone.
    """
    kind = output.suffix.lower()
    if kind not in (*_PAGE, _PICTURE):
        raise ArtError(
            "a report is a page, .html, or a picture, .svg", where=output, hint="name one of them"
        )
    from art.files import write_text
    from art.report.history import read_histories

    histories = read_histories(runs)
    if kind == _PICTURE:
        from art.report.curves import curve_picture

        write_text(output, curve_picture(histories))
    else:
        from art.report.page import render_page

        write_text(output, render_page(histories))
    print(f"{output} is written")
