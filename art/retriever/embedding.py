"""The vectors of a whole store, written as index shards: the command and the refresh alike.

Rank r of W takes the shards r, r + W, … Batches are cut inside a shard, from its rows alone, so
that the vectors depend neither on W nor on where an interrupted job took up again.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from art import __version__, distributed
from art.data.batching import token_batches
from art.data.tokens import pad
from art.errors import ArtError, MismatchError
from art.files import fingerprint as fingerprint_of
from art.files import lock, read_json
from art.retriever.building import ApproximateSettings, build
from art.retriever.index import Index
from art.retriever.index_manifest import MANIFEST, IndexManifest
from art.retriever.padding import encoding_tokens
from art.retriever.parts import remove_parts
from art.retriever.searcher import own_shards
from art.retriever.shards import (
    ShardRecord,
    Vectors,
    VectorType,
    default_type,
    finished_shard,
    remove_leftovers,
    shard_path,
    stored_type,
    write_shard,
)

if TYPE_CHECKING:
    from art.data.passages import PassageStore
    from art.data.tokens import TokenStore
    from art.retriever.encoders import Retriever

T = TypeVar("T")
U = TypeVar("U")

_LARGEST_FLOAT16 = 65_504.0


def embed_passages(
    retriever: Retriever,
    tokens: TokenStore,
    folder: str | Path,
    *,
    store: PassageStore,
    shard_rows: int = 65_536,
    batch_tokens: int | None = None,
    dtype: VectorType | None = None,
    fingerprint: str | None = None,
    progress: bool = True,
    description: str = "embedding",
    approximate: ApproximateSettings | None = None,
) -> Index:
    """Embed every passage of a store and return the index; every process of the job calls it.

    Shards that an earlier call finished under the same retriever, passages and settings are kept,
    which is also how a killed job goes on and how a damaged index is repaired.

    Args:
        retriever: its passage tower embeds.
        tokens: the passages' token ids under the retriever's passage template.
        folder: of the index; on a disk that all processes share.
        store: the passages.
        shard_rows: rows of a shard.
        batch_tokens: the most token positions in one batch, padding included; None for what is
            fast on the retriever's device.
        dtype: type of the stored vectors; None for what suits the retriever's device.
        fingerprint: of the retriever, where the caller knows it already.
        progress: show a bar on the main process.
        description: the bar's first words.
        approximate: how searches find what they score; None where they compare everything.

    Raises:
        ArtError: a vector is not finite or does not fit `dtype`, another job is writing to the
            folder, a file cannot be written, or an approximate kind does not suit the passages or
            finds too little.
        MismatchError: the token ids are not those of this store.
    """
    if len(tokens) != len(store):
        raise MismatchError(
            f"token ids of {len(tokens)} passages for a store of {len(store)}", where=store.folder
        )
    job = _Job(
        retriever,
        tokens,
        Path(folder),
        store=store,
        shard_rows=shard_rows,
        batch_tokens=batch_tokens or encoding_tokens(retriever.passage_tower),
        dtype=dtype or default_type(on_gpu=retriever.device.type != "cpu"),
        fingerprint=fingerprint or retriever.fingerprint(),
    )
    with distributed.fail_together():
        if approximate is not None:
            approximate.check(len(store), retriever.embedding_size)
    progress = progress and distributed.is_main()
    with job.alone():
        with distributed.fail_together():
            job.embed_share(progress, description)
        manifest = job.manifest()
        if approximate is not None:
            with distributed.fail_together():
                index = Index(job.folder, manifest)
            record = build(index, approximate, retriever, progress=progress)
            manifest = manifest.model_copy(update={"approximate": record})
        with distributed.fail_together():
            if distributed.is_main():
                job.finish(manifest)
    with distributed.fail_together():
        return Index.open(folder, retriever_fingerprint=job.fingerprint)


def overlapped(compute: Callable[[T], U], items: Sequence[T]) -> Iterator[U]:
    """Yield what is computed of each item, in order; a thread computes the next one meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        pending: Future[U] | None = None
        for item in items:
            done, pending = pending, thread.submit(compute, item)
            if done is not None:
                yield done.result()
        if pending is not None:
            yield pending.result()


class _Job:
    """One embedding of one store into one folder."""

    def __init__(
        self,
        retriever: Retriever,
        tokens: TokenStore,
        folder: Path,
        *,
        store: PassageStore,
        shard_rows: int,
        batch_tokens: int,
        dtype: VectorType,
        fingerprint: str,
    ) -> None:
        self.retriever = retriever
        self.tokens = tokens
        self.folder = folder
        self.store = store
        self.shard_rows = shard_rows
        self.batch_tokens = batch_tokens
        self.dtype: VectorType = dtype
        self.fingerprint = fingerprint
        self.num_shards = -(-len(store) // shard_rows)
        # All that the bits of a shard depend on. The retriever's fingerprint covers its template;
        # that of the tokens is there for ids of another one, the version for torch's kernels.
        self.key = fingerprint_of(
            fingerprint,
            store.fingerprint,
            tokens.fingerprint,
            dtype,
            str(shard_rows),
            str(batch_tokens),
            torch.__version__,
        )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other jobs out of the folder and clear away what is not of this job.

        Raises:
            ArtError: another job is writing there, or not all machines share it.
        """
        with ExitStack() as held:
            with distributed.fail_together():
                if distributed.is_main():
                    path = self.folder / ".lock"
                    held.enter_context(lock(path, wait=False, holder="another embedding job"))
            distributed.require_shared(self.folder)
            with distributed.fail_together():
                if distributed.is_main():
                    if (self.folder / MANIFEST).exists():
                        self.refuse_other_manifests()
                    (self.folder / MANIFEST).unlink(missing_ok=True)
                    remove_leftovers(self.folder, self.num_shards)
            yield

    def refuse_other_manifests(self) -> None:
        """Refuse a folder that holds something else, such as a passage store."""
        if shard_path(self.folder, 0).exists():
            return  # an index, whatever became of its manifest
        document = read_json(self.folder / MANIFEST, names=True)
        if not isinstance(document, dict) or "max_norms" not in document:
            raise ArtError(
                "this folder holds something that is not an index",
                where=self.folder,
                hint="choose another folder for the index",
            )

    def rows(self, shard: int) -> range:
        """Return the rows of a shard."""
        return range(shard * self.shard_rows, min((shard + 1) * self.shard_rows, len(self.store)))

    def finished(self, shard: int) -> ShardRecord | None:
        """Return the record of a shard that stands as this job would write it, else None."""
        row_bytes = self.retriever.embedding_size * stored_type(self.dtype).itemsize
        num_rows = len(self.rows(shard))
        return finished_shard(self.folder, shard, self.key, num_rows=num_rows, row_bytes=row_bytes)

    def embed_share(self, progress: bool, description: str) -> None:
        """Write this rank's shards, but for those that are finished."""
        share = own_shards(self.num_shards)
        missing = [shard for shard in share if self.finished(shard) is None]
        num_passages = sum(len(self.rows(shard)) for shard in share)
        num_missing = sum(len(self.rows(shard)) for shard in missing)
        bar = tqdm(
            desc=description,
            total=num_passages,
            initial=num_passages - num_missing,
            unit=" passages",
            unit_scale=True,
            leave=None,  # inside a training run only the run's own line stays
            disable=not progress,
        )
        # A shard is written while the next one is embedded, and never more than one waits.
        with bar, ThreadPoolExecutor(max_workers=1) as writer:
            pending: Future[ShardRecord] | None = None
            for shard in missing:
                vectors = self.embed(self.rows(shard), bar)
                if pending is not None:
                    pending.result()
                pending = writer.submit(write_shard, self.folder, shard, vectors, self.key)
            if pending is not None:
                pending.result()

    def embed(self, rows: range, bar: tqdm) -> Vectors:
        """Return the vectors of consecutive rows, [n, D] in the stored type."""
        vectors = np.empty((len(rows), self.retriever.embedding_size), stored_type(self.dtype))
        lengths = self.tokens.lengths(rows)
        # The longest first: what does not fit memory should fail now, not at the shard's end.
        batches = token_batches(lengths, self.batch_tokens)[::-1]
        padded = overlapped(lambda batch: self.padded(batch + rows.start), batches)
        for batch, (ids, mask) in zip(batches, padded, strict=True):
            try:
                found = self.retriever.passage_tower.embed(ids, mask)
            except torch.OutOfMemoryError as error:
                raise ArtError(
                    f"the memory of {self.retriever.device} does not suffice to embed "
                    f"{self.batch_tokens} tokens at once",
                    hint="lower index.batch_tokens, or --batch-tokens of `art embed`",
                ) from error
            self.check(found, batch + rows.start)
            vectors[batch] = found
            bar.update(len(batch))
        return vectors

    def padded(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return the token ids of some rows and their mask, [n, L] each, ready to be uploaded."""
        ids, mask = pad([self.tokens[row] for row in rows.tolist()], pad_id=self.retriever.pad_id)
        if self.retriever.device.type == "cuda":
            return ids.pin_memory(), mask.pin_memory()
        return ids, mask

    def check(self, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        """Refuse vectors that nothing can be found with."""
        largest = np.abs(vectors).max(axis=1)  # [n]; NaN where a NaN is
        broken = rows[~np.isfinite(largest)]
        if broken.size:
            raise ArtError(
                f"the vector of passage {self.store[int(broken.min())].passage_id!r} is not finite",
                where=self.folder,
                hint="the passage tower has diverged: lower the learning rate, or try float32",
            )
        if self.dtype == "float16" and float(largest.max()) > _LARGEST_FLOAT16:
            row = int(rows[largest > _LARGEST_FLOAT16].min())
            raise ArtError(
                f"the vector of passage {self.store[row].passage_id!r} does not fit float16: "
                f"it holds numbers up to {float(largest.max()):.6g}",
                where=self.folder,
                hint="store the index as float32",
            )

    def manifest(self) -> IndexManifest:
        """Return what the manifest of an exact index says, the same on every process."""

        def read() -> list[ShardRecord]:
            paths = [shard_path(self.folder, shard) for shard in range(self.num_shards)]
            return [ShardRecord.read(path.with_suffix(".json")) for path in paths]

        records, *_ = distributed.together(lambda: read() if distributed.is_main() else [])
        return IndexManifest(
            num_passages=len(self.store),
            embedding_size=self.retriever.embedding_size,
            dtype=self.dtype,
            shard_rows=self.shard_rows,
            store_folder=str(Path(self.store.folder).resolve()),
            store_fingerprint=self.store.fingerprint,
            retriever_fingerprint=self.fingerprint,
            key=self.key,
            max_norms=[record.max_norm for record in records],
            blocks=[record.blocks for record in records],
            provenance={
                "art": __version__,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
                "batch_tokens": str(self.batch_tokens),
            },
        )

    def finish(self, manifest: IndexManifest) -> None:
        """Write the manifest, and with it make the folder an index."""
        approximate = manifest.approximate
        remove_parts(self.folder, keep=approximate.parts if approximate else ())
        manifest.write(self.folder / MANIFEST)
