"""`art export`: a retriever or an index written for another tool, with its model card."""

from __future__ import annotations

from pathlib import Path

from art.data.passages import PassageStore
from art.errors import ArtError, notify
from art.files import atomic_folder, write_text
from art.interop.card import model_card
from art.interop.exports import EXPORTS, Export, Exported
from art.interop.origin import origin_of
from art.interop.towers import take_apart
from art.retriever.encoders import Retriever
from art.retriever.index import Index
from art.retriever.loading import create_retriever
from art.training.run_folder import finished_retriever
from art.weights import saving_weights


def export(
    model: str,
    target: str,
    output: Path,
    *,
    index: Path | None = None,
    passages: Path | None = None,
) -> None:
    """Write a retriever, or with `index` its index, as a folder of another tool.

    What the target does otherwise than the retriever is said, a line each.

    Args:
        model: a retriever's folder, a finished run's, or any model to start from.
        target: the name of an entry of `EXPORTS`.
        output: the new folder; appears when it is complete.
        index: that the retriever made; for targets that export one.
        passages: the corpus of `index`, where it is not where the index found it.

    Raises:
        ConfigError: there is no such target.
        ArtError: the target cannot represent the retriever, `output` holds something, or a file
            cannot be written.
        MismatchError: another retriever made the index.
    """
    entry = EXPORTS[target]
    _check_index(entry, index)
    _check_output(output)
    model = str(finished_retriever(Path(model)) or model)
    retriever = create_retriever(model)
    opened, store = _open_index(retriever, index, passages)
    source = Exported(
        question=take_apart(retriever, "question"),
        passage=take_apart(retriever, "passage"),
        tied=retriever.settings.tied,
        index=opened,
        store=store,
    )
    entry.check(source)
    origin = origin_of(model)
    notes = list(entry.notes(source))
    for note in notes:
        notify(note)
    with atomic_folder(output) as beside, saving_weights(output):
        entry.write(source, beside)
        name = output.absolute().name
        write_text(beside / "README.md", model_card(name, entry, source, origin, notes))


def _check_index(entry: Export, index: Path | None) -> None:
    if entry.needs_index and index is None:
        raise ArtError(f"{entry.name} exports an index", hint="name it with --index")
    if index is not None and not entry.needs_index:
        raise ArtError(f"{entry.name} exports a retriever", hint="leave --index out")


def _check_output(output: Path) -> None:
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise ArtError(
            "the output is there already", where=output, hint="choose another, or delete it"
        )


def _open_index(
    retriever: Retriever, index: Path | None, passages: Path | None
) -> tuple[Index | None, PassageStore | None]:
    if index is None:
        return None, None
    opened = Index.open(index, retriever_fingerprint=retriever.fingerprint())
    return opened, opened.open_store(passages)
