"""The command line. Whatever is heavy is imported inside the command that needs it.

common      options that several commands share, and the processes of a job
screen      what is printed, in any encoding and to anybody
training    train, init
asking      ask
vectors     vectors made elsewhere, for search and evaluate
opening     a retriever, its index and its passages, opened together
embedding   embed
searching   search, evaluate
comparing   compare, and evaluate for a result file
benchmarks  named benchmarks, for evaluate
fetching    fetch
reading     read
mining      mine
fusing      BM25 beside the retriever, for search and evaluate
scoring     score, diagnose
reporting   report
exporting   export
importing   import
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from art.cli import screen
from art.cli.asking import ask
from art.cli.common import SkipBadRows, read_rows
from art.cli.comparing import compare
from art.cli.embedding import embed
from art.cli.exporting import WithTargets, export
from art.cli.fetching import fetch
from art.cli.importing import import_checkpoint
from art.cli.mining import mine
from art.cli.reading import read
from art.cli.reporting import report
from art.cli.scoring import WithKinds, diagnose, score
from art.cli.searching import evaluate, search
from art.cli.training import init, train
from art.errors import ArtError
from art.training.interruption import Interrupted, Interruption

app = typer.Typer(
    name="art",
    help="Train dense retrievers from questions alone, with a frozen language model as teacher.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line; what a user can repair is one line on stderr and exit status 1."""
    screen.prepare()
    try:
        try:
            app()
        finally:
            screen.finish()
    except ArtError as error:
        if not error.reported_elsewhere:
            print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except UnicodeEncodeError as error:
        if error.encoding == "utf-8":
            raise
        # Nothing that is printed raises it: it is the name of a file.
        name = error.object.encode("ascii", "backslashreplace").decode()
        print(
            f"error: {name}: no file name in {error.encoding} (set PYTHONUTF8=1)", file=sys.stderr
        )
        sys.exit(1)
    except Interrupted as end:
        if not end.reported_elsewhere:
            print(end, file=sys.stderr)
        sys.exit(end.status)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from art import __version__

        print(f"art-retriever {__version__}")
        raise typer.Exit


@app.command()
def split(
    documents: Annotated[
        Path, typer.Option(help="A folder or file: .txt, .md, .html, .jsonl, each also as .gz.")
    ],
    output: Annotated[Path, typer.Option(help="Passages, .jsonl; written atomically.")],
    words: Annotated[
        int, typer.Option(min=1, help="Words of a passage; 0.7 to 1.3 times as many to end well.")
    ] = 100,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Cut documents into passages that end with sentences, titles and sources kept."""
    from art.data.splitting import split_documents

    result = read_rows(
        lambda source, bad_rows: split_documents(source, output, words=words, bad_rows=bad_rows),
        documents,
        skip_bad_rows=skip_bad_rows,
    )
    print(f"{output}: {result.num_passages:,} passages from {result.num_documents:,} documents")
    for line in result.skipped.report():
        print(f"skipped {line}")


app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        # `--help` is answered below: it lists every setting, and reading those costs a moment that
        # `art --help` should not pay.
        "help_option_names": [],
    }
)(train)
app.command()(ask)
app.command()(init)
app.command()(fetch)
app.command()(embed)
app.command()(search)
app.command()(evaluate)
app.command()(compare)
app.command()(read)
app.command()(mine)
app.command(cls=WithKinds)(score)
app.command(cls=WithKinds)(diagnose)
app.command()(report)
app.command("import")(import_checkpoint)
app.command(cls=WithTargets)(export)


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option(help="Run folder; a killed demonstration goes on.")
    ] = Path("runs/demo"),
) -> None:
    """Train on Python's own documentation, from questions alone: minutes, no download."""
    interruption = Interruption()
    with interruption.listening():
        from art.demo.run import run_demo

        run_demo(output, interruption=interruption)
