"""`art embed`: a corpus into an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from art.cli.common import (
    OnCpu,
    PassagesFile,
    RetrieverFolder,
    SkipBadRows,
    notify_skipped,
    processes,
    takes_retriever_settings,
)
from art.cli.opening import say_what_is_used
from art.errors import ArtError, notify

if TYPE_CHECKING:
    from art.retriever.building import ApproximateSettings
    from art.retriever.encoders import Retriever

VectorType = Literal["float32", "float16"]


@takes_retriever_settings
def embed(
    retriever: RetrieverFolder,
    passages: PassagesFile,
    output: Annotated[Path, typer.Option(help="Folder of the index; a killed job goes on there.")],
    dtype: Annotated[
        VectorType | None,
        typer.Option(help="Precision of the stored vectors; float16 on a GPU, else float32."),
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Padded tokens embedded at once; the device's own.")
    ] = None,
    index_kind: Annotated[
        str,
        typer.Option(
            help="exact; or IVF4096,Flat, IVF4096,PQ64 or HNSW32, with numbers of your own, which "
            "compare a question with some of the passages."
        ),
    ] = "exact",
    nprobe: Annotated[
        int | None,
        typer.Option(min=1, help="Of IVF, lists searched: one in 16, at least 8."),
    ] = None,
    ef_search: Annotated[
        int | None,
        typer.Option(min=1, help="Of HNSW, passages kept in mind: 128."),
    ] = None,
    skip_bad_rows: SkipBadRows = False,
    cpu: OnCpu = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Embed a corpus with a retriever's passage tower into a searchable index."""
    from art import distributed
    from art.data.cutting import cut_passages
    from art.data.passages import PassageStore
    from art.data.tokens import TokenStore
    from art.retriever.embedding import embed_passages
    from art.retriever.loading import create_retriever

    approximate = _approximate(index_kind, nprobe, ef_search)
    with processes(cpu) as device:

        def open_all() -> tuple[Retriever, PassageStore, TokenStore]:
            model = create_retriever(retriever, **settings).to(device)
            store = PassageStore.open_or_build(passages, skip_bad_rows=skip_bad_rows)
            notify_skipped(store.bad_rows)
            tokens = TokenStore.open_or_build(store, model.passage_template)
            say_what_is_used(model)
            if distributed.is_main():
                for note in cut_passages(model.passage_template, tokens, store):
                    notify(note)
            return model, store, tokens

        model, store, tokens = distributed.first_on_each_machine(open_all)
        index = embed_passages(
            model,
            tokens,
            output,
            store=store,
            dtype=dtype,
            batch_tokens=batch_tokens,
            approximate=approximate,
        )
        if distributed.is_main():
            print(
                f"{output}: {len(store):,} passages, {index.embedding_size} dimensions, "
                f"{index.manifest.dtype}, {index.manifest.search_in_words()}"
            )


def _approximate(
    name: str, nprobe: int | None, ef_search: int | None
) -> ApproximateSettings | None:
    """Return the kind of index that options ask for; None for an exact one."""
    from art.config import IndexKind
    from art.retriever.building import ApproximateSettings

    try:
        kind = IndexKind.named(name)
    except ValueError as error:
        raise ArtError(f"--index-kind {name}: {error}") from error
    if nprobe is not None and not (kind and kind.num_lists):
        raise ArtError("--nprobe is of lists", hint="name them: --index-kind IVF4096,PQ64")
    if ef_search is not None and not (kind and kind.num_links):
        raise ArtError("--ef-search is of a graph", hint="name it: --index-kind HNSW32")
    return None if kind is None else ApproximateSettings(kind, effort=nprobe or ef_search)
