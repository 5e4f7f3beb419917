"""The index: the vectors of every passage of a store, and exact search among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from art.data.passages import PassageStore
from art.errors import ArtError, CorruptionError, MismatchError
from art.retriever.index_manifest import MANIFEST, IndexManifest
from art.retriever.parts import GRAPH, TRAINED, check_part, shard_part
from art.retriever.shards import Shards, Vectors

if TYPE_CHECKING:
    import torch

    from art.retriever.blocks import Blocks
    from art.retriever.search import Finder

_LARGEST_SCORE = 1e38  # float32 ends at 3.4e38


class Index:
    """The passage vectors of one store under one retriever; `open` it.

    Args:
        folder: where it lies.
        manifest: what it holds.

    Raises:
        CorruptionError: a shard is missing or has the wrong size.
    """

    def __init__(self, folder: Path, manifest: IndexManifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._shards = Shards(
            folder,
            num_rows=manifest.num_passages,
            embedding_size=manifest.embedding_size,
            dtype=manifest.dtype,
            shard_rows=manifest.shard_rows,
            blocks=manifest.blocks,
        )
        norms = np.array(manifest.max_norms)
        if len(norms) != len(self._shards) or not (np.isfinite(norms) & (norms >= 0)).all():
            raise CorruptionError(
                "max_norms: not a length for every shard",
                where=folder / MANIFEST,
                hint="run `art embed` again: it writes only what is damaged or missing",
            )

    @classmethod
    def open(cls, folder: str | Path, *, retriever_fingerprint: str | None = None) -> Index:
        """Open a finished index; its contents are checked when first read.

        Args:
            folder: where `embed_passages` wrote it.
            retriever_fingerprint: of the retriever that will search it; None to take any.

        Raises:
            ArtError: there is no finished index in the folder.
            MismatchError: another retriever made it.
            CorruptionError: the manifest is broken, or a shard is missing or has the wrong size.
        """
        folder = Path(folder)
        if not (folder / MANIFEST).is_file():
            raise ArtError(
                f"no finished index here: {MANIFEST} is missing",
                where=folder,
                hint="build it, or go on building it, with `art embed`",
            )
        opened = cls(folder, IndexManifest.read(folder / MANIFEST))
        if retriever_fingerprint is not None:
            opened.check_retriever(retriever_fingerprint)
        return opened

    def __len__(self) -> int:
        """Return N, the number of passages."""
        return self.manifest.num_passages

    @property
    def embedding_size(self) -> int:
        """D, the length of a vector."""
        return self.manifest.embedding_size

    @property
    def retriever_fingerprint(self) -> str:
        """Stands for the passage tower that made the vectors."""
        return self.manifest.retriever_fingerprint

    @property
    def store_fingerprint(self) -> str:
        """Stands for the passages whose vectors these are."""
        return self.manifest.store_fingerprint

    @property
    def store_folder(self) -> Path:
        """Where the store lay when the index was made."""
        return Path(self.manifest.store_folder)

    def open_store(
        self, passages: str | Path | None = None, *, skip_bad_rows: bool = False
    ) -> PassageStore:
        """Open the passages whose vectors these are.

        Args:
            passages: the corpus or its store, where it is no longer where the index found it.
            skip_bad_rows: as for `PassageStore.open_or_build`.

        Raises:
            ArtError: they are not there.
            MismatchError: these are other passages.
        """
        if passages is None and not self.store_folder.exists():
            raise ArtError(
                "the passages of this index are no longer where they were",
                where=self.store_folder,
                hint="name the corpus: --passages, in Python passages=",
            )
        where = passages or self.store_folder
        store = PassageStore.open_or_build(where, skip_bad_rows=skip_bad_rows)
        self.check_passages(store, where=where)
        return store

    def check_retriever(self, fingerprint: str) -> None:
        """Refuse a retriever that did not make the vectors.

        Args:
            fingerprint: of the retriever that is to search them.

        Raises:
            MismatchError: another one made them.
        """
        if fingerprint != self.retriever_fingerprint:
            raise MismatchError(
                f"the index was made by retriever {self.retriever_fingerprint}, "
                f"but the one given is {fingerprint}",
                where=self.folder,
                hint="give the retriever that made it, or build an index with `art embed`",
            )

    def check_passages(self, store: PassageStore, *, where: str | Path) -> None:
        """Refuse a store whose passages are not those of the vectors.

        Args:
            store: the passages.
            where: they come from, for the message.

        Raises:
            MismatchError: these are other passages.
        """
        if store.fingerprint != self.store_fingerprint:
            raise MismatchError(
                f"the index holds passages {self.store_fingerprint}, but these are "
                f"{store.fingerprint}",
                where=where,
                hint="name the corpus the index was made of: --passages, in Python passages=",
            )

    @property
    def num_shards(self) -> int:
        """The number of shards."""
        return len(self._shards)

    @property
    def shard_bytes(self) -> list[int]:
        """The size of each shard."""
        shards = self._shards
        return [shards.rows_of(shard) * shards.row_bytes for shard in range(len(shards))]

    def rows_of(self, shard: int) -> range:
        """Return the rows of a shard."""
        first = shard * self.manifest.shard_rows
        return range(first, first + self._shards.rows_of(shard))

    def check(self, shards: Iterable[int]) -> None:
        """Read some shards now and compare them with their checksums, which else a search does.

        Args:
            shards: their numbers.

        Raises:
            CorruptionError: bytes are not what was written.
        """
        names = {TRAINED, GRAPH}
        for shard in shards:
            self._shards.matrix(shard)
            names.add(shard_part(shard))
        if self.manifest.approximate is not None:
            for name, record in self.manifest.approximate.parts.items():
                if name in names:
                    check_part(self.folder, name, record)

    def shards(self) -> Iterator[Vectors]:
        """Yield the stored vectors shard by shard, checked: [n, D] each, in the order of the rows.

        Raises:
            CorruptionError: bytes are not what was written.
        """
        for shard in range(len(self._shards)):
            yield self._shards.matrix(shard)

    def vectors(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Return the stored vectors of some rows, [n, D] float32."""
        return self._shards.gather(np.asarray(rows, dtype=np.int64)).astype(np.float32)

    def blocks(
        self, shards: Iterable[int], *, device: torch.device | None = None, resident: bool = False
    ) -> Blocks:
        """Return the rows of some shards, to be searched.

        Args:
            shards: their numbers, ascending.
            device: see `Blocks.of`.
            resident: see there.

        Raises:
            CorruptionError: bytes are not what was written.
        """
        from art.retriever.blocks import Blocks  # torch takes a second to load

        norm = self._max_norm
        return Blocks.of(self._shards, shards, max_norm=norm, device=device, resident=resident)

    def finder(
        self, shards: range, *, device: torch.device | None = None, resident: bool = False
    ) -> Finder:
        """Return what searches some shards, exactly or as the index was built for.

        Args:
            shards: their numbers, ascending.
            device: of an exact search; see `Blocks.of`.
            resident: see there.

        Raises:
            CorruptionError: bytes are not what was written.
            ArtError: FAISS is missing.
        """
        # torch takes a second to load
        if self.manifest.approximate is None:
            from art.retriever.search import search

            return partial(search, self.blocks(shards, device=device, resident=resident))
        from art.retriever.approximate import ApproximateSearch

        return ApproximateSearch(
            self.folder,
            self.manifest.approximate,
            shards,
            shard_rows=self.manifest.shard_rows,
            vectors=self.vectors,
            open_blocks=lambda: self.blocks(shards),
        )

    def validated(self, question_vectors: ArrayLike) -> NDArray[np.float32]:
        """Return question vectors as a search takes them.

        Args:
            question_vectors: [Q, D].

        Raises:
            ArtError: a vector is not finite, or scores would not fit float32.
            MismatchError: the vectors have another size than those of the index.
        """
        questions = np.ascontiguousarray(question_vectors, dtype=np.float32)
        if questions.ndim != 2 or questions.shape[1] != self.embedding_size:
            raise MismatchError(
                f"question vectors of shape {list(questions.shape)}, "
                f"expected [Q, {self.embedding_size}]",
                where=self.folder,
            )
        broken = np.flatnonzero(~np.isfinite(questions).all(axis=1))
        if broken.size:
            raise ArtError(
                f"the vector of question {broken[0]} (of {len(questions)}, from 0) is not finite",
                hint="the question tower has diverged: lower the learning rate",
            )
        norms = np.linalg.norm(questions.astype(np.float64), axis=1)
        if bool((norms * self._max_norm > _LARGEST_SCORE).any()):
            raise ArtError(
                f"scores up to {float((norms * self._max_norm).max()):.1e} do not fit float32",
                hint="the question vectors or the passage vectors have diverged",
            )
        return questions

    def depth(self, top_k: int) -> int:
        """Return how many passages a search for K of them finds, min(K, N).

        Raises:
            ArtError: K is below 1.
        """
        if top_k < 1:
            raise ArtError(f"top_k is {top_k}, it must be at least 1")
        return min(top_k, len(self))

    def search(
        self, question_vectors: NDArray[np.float32], top_k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the K passages with the largest inner products; by this process alone.

        Exactly, but for what an approximate kind does not find among all passages. Neither the
        other questions of the call nor the number of threads has any influence. `IndexSearcher`
        does it with the other processes of the job, or on a GPU.

        Args:
            question_vectors: [Q, D] float32.
            top_k: K; above N, all N passages are returned.

        Returns:
            Scores and rows, [Q, min(K, N)] each, ordered by (score descending, row ascending).

        Raises:
            ArtError: a vector is not finite, K is below 1, or FAISS is missing.
            MismatchError: the vectors have another size than those of the index.
            CorruptionError: bytes read for the first time are not what was written.
        """
        questions, depth = self.validated(question_vectors), self.depth(top_k)
        return self._finder(questions, depth)

    @cached_property
    def _finder(self) -> Finder:
        return self.finder(range(self.num_shards))

    @property
    def _max_norm(self) -> float:
        return max(self.manifest.max_norms, default=0.0)
