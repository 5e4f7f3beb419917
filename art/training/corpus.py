"""The corpus of a run and its index, which is embedded again at every refresh."""

from __future__ import annotations

from pathlib import Path

from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.retriever.building import ApproximateSettings
from art.retriever.embedding import embed_passages
from art.retriever.encoders import Retriever
from art.retriever.index import Index
from art.retriever.searcher import IndexSearcher
from art.retriever.shards import VectorType


class RunCorpus:
    """Passages, their token ids, and the last index of them.

    Args:
        store: the passages.
        tokens: as the passage tower reads them; None where no index is needed.
        shard_rows: see `embed_passages`, as for the others.
        batch_tokens: padded tokens embedded at once; None for the device's own.
        dtype: of the stored vectors; None for the device's own.
        approximate: see there.

    Attributes:
        searcher: of the corpus as it was last embedded; None before the first time, and while it is
            embedded again: there is never room for two.
    """

    def __init__(
        self,
        store: PassageStore,
        tokens: TokenStore | None,
        *,
        shard_rows: int,
        batch_tokens: int | None,
        dtype: VectorType | None,
        approximate: ApproximateSettings | None = None,
    ) -> None:
        self.store = store
        self._tokens = tokens
        self._settings = (shard_rows, batch_tokens, dtype)
        self._approximate = approximate
        self.searcher: IndexSearcher | None = None

    @property
    def tokens(self) -> TokenStore:
        """Token ids of the passages as the passage tower reads them."""
        assert self._tokens is not None  # the method or the evaluation said that it needs them
        return self._tokens

    def searched(self) -> IndexSearcher:
        """Return what a step or an evaluation searches with."""
        assert self.searcher is not None  # a refresh always comes before
        return self.searcher

    def is_stale(self, retriever: Retriever) -> bool:
        """Return whether there is an index, and of another passage tower than this one."""
        if self.searcher is None:
            return False
        return self.searcher.index.retriever_fingerprint != retriever.fingerprint()

    def embed(
        self,
        retriever: Retriever,
        folder: Path,
        description: str,
        fingerprint: str | None = None,
    ) -> Index:
        """Embed the corpus into an index; only what is missing in its folder is written.

        Args:
            retriever: whose passage tower embeds.
            folder: of the index.
            description: the progress bar's first words.
            fingerprint: the retriever's; None to compute it.
        """
        shard_rows, batch_tokens, dtype = self._settings
        return embed_passages(
            retriever,
            self.tokens,
            folder,
            store=self.store,
            shard_rows=shard_rows,
            batch_tokens=batch_tokens,
            dtype=dtype,
            fingerprint=fingerprint,
            description=description,
            approximate=self._approximate,
        )
