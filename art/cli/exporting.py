"""`art export`: a retriever in the folders of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from art.errors import ArtError


class WithTargets(TyperCommand):
    """A command whose help ends with the targets, which are looked up for it alone."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write each target's name and what it writes."""
        from art.interop.exports import EXPORTS

        with formatter.section("Targets, by what they write"):
            formatter.write_dl([(one.name, one.description) for one in EXPORTS])


def export(
    retriever: Annotated[
        str, typer.Option(help="A retriever's folder, a finished run's, or any model.")
    ],
    to: Annotated[str, typer.Option("--to", help="The target; listed below.")],
    output: Annotated[Path, typer.Option(help="The new folder; appears when it is complete.")],
    index: Annotated[
        Path | None, typer.Option(help="The index that `art embed` made, for faiss.")
    ] = None,
    passages: Annotated[
        Path | None,
        typer.Option(help="The corpus, where it is not where the index found it."),
    ] = None,
    push_to_hub: Annotated[
        str | None,
        typer.Option(
            "--push-to-hub",
            metavar="NAME",
            help="Upload it to this repository of the Hugging Face Hub, private where it is new.",
        ),
    ] = None,
) -> None:
    """Write a retriever as other tools read it: sentence-transformers, DPR, ONNX, FAISS."""
    from art.interop import exporting, hub

    if passages is not None and index is None:
        raise ArtError("--passages is the corpus of an index", hint="name it with --index")
    if push_to_hub is not None:
        hub.check_repository(push_to_hub)
    exporting.export(retriever, to, output, index=index, passages=passages)
    print(f"{output}: {to}, with its model card README.md")
    if push_to_hub is not None:
        print(f"uploaded to {hub.push(output, push_to_hub)}")
