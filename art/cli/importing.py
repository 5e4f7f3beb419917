"""`art import`: a checkpoint of another program becomes a retriever folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def import_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="The file that the other program wrote.")],
    kind: Annotated[
        str, typer.Option("--from", help="What wrote it: dpr-cp (original DPR) or art-release.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the retriever.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Its tokenizer: a name or a folder; BERT's of the same size."),
    ] = None,
    num_heads: Annotated[
        int | None,
        typer.Option(min=1, help="Attention heads, where the checkpoint does not say."),
    ] = None,
) -> None:
    """Make a retriever of a checkpoint of DPR or the ART release; nothing in it is executed."""
    from art.interop.importing import import_retriever

    made = import_retriever(checkpoint, output, kind=kind, tokenizer=tokenizer, num_heads=num_heads)
    lengths = made.settings.question_length, made.settings.passage_length
    print(
        f"{output}: two towers, {made.embedding_size} dimensions;"
        f" questions of {lengths[0]} tokens and passages of {lengths[1]}"
    )
