"""`--to faiss`: an index as Pyserini reads it, `index` and `docid`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from art.errors import ArtError, shown
from art.interop.exports.base import EXPORTS, Export, Exported


class FaissFolder(Export):
    """A flat FAISS index of inner products, and the passage ids in its order."""

    name: ClassVar[str] = "faiss"
    description: ClassVar[str] = "an index: `index` (IndexFlatIP) and `docid`, as Pyserini reads"
    needs_index: ClassVar[bool] = True

    def write(self, source: Exported, folder: Path) -> None:
        """Write both files.

        Raises:
            ArtError: a passage id cannot stand on a line of its own.
        """
        from art.retriever.faiss_file import write_flat_index

        index, store = source.index, source.store
        assert index is not None
        assert store is not None
        with open(folder / "docid", "w", encoding="utf-8", newline="\n") as file:
            for row in range(len(store)):
                (passage_id,) = store.ids([row])
                if passage_id != passage_id.strip() or len(passage_id.splitlines()) != 1:
                    raise ArtError(
                        f"passage id {shown(passage_id)} cannot stand on a line of its own",
                        hint="give that passage another id",
                    )
                file.write(f"{passage_id}\n")
        write_flat_index(index, folder / "index")

    def usage(self, source: Exported) -> str:
        """Return the lines that search it."""
        return "\n".join(
            [
                "```python",
                "import faiss",
                "",
                'index = faiss.read_index("PATH/index")',
                'ids = open("PATH/docid", encoding="utf-8").read().splitlines()',
                "scores, rows = index.search(question_vectors, 10)  # float32 [Q, D]",
                "```",
                "",
                "Question vectors come from the question tower of the retriever, exported apart.",
            ]
        )


EXPORTS.add(FaissFolder())
