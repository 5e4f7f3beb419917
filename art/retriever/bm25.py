"""BM25 over the rows of a store: the lexical baseline, and a second source of candidates.

Words are runs of letters and digits, lower-cased, without English stop words (the long list, which
holds the question words) and stemmed; titles are indexed with the text. Chosen on 176 questions of
COVID-QA over 3,572 passages of 100 words, gold passage in the top 1/5/20/50 (%):

    long list, stemmed, k1 0.9, b 0.4, one-letter words kept   52.8 / 72.7 / 84.7 / 94.9   (this)
    as above, k1 1.5, b 0.75                                   51.7 / 73.3 / 85.2 / 94.3
    as above, without one-letter words                         51.1 / 71.0 / 85.2 / 93.8
    as above, not stemmed                                      50.6 / 70.5 / 84.7 / 89.8
    as above, short stop list (33 words)                       49.4 / 67.6 / 81.2 / 89.2

k1 and b are those of Anserini's and Pyserini's baselines. Without titles this corpus gains a point
or two at the top and loses two at 50; titles stay, as elsewhere they name what the text is about.
"""

from __future__ import annotations

import errno
import os
import re
from array import array
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from art.errors import ArtError
from art.files import atomic_folder, cache_folder, fingerprint
from art.integrity import CHECKSUMS, Checksums, check_folder, open_or_build

if TYPE_CHECKING:
    from art.data.passages import PassageStore

_K1 = 0.9
_B = 0.4
_WORD = re.compile(r"\w+")


class BM25:
    """The inverted index of a store; `build` it.

    Args:
        inner: the index of the bm25s library.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._words = _Words()

    @classmethod
    def build(cls, store: PassageStore, *, cache: Path | None = None) -> BM25:
        """Open the inverted index of a store, building it the first time, or where it is damaged.

        Its files are read whole and compared with their checksums: about a second for a gigabyte.

        Args:
            store: the passages.
            cache: folder of things that can be built again; None for the user's.

        Raises:
            ArtError: a file cannot be written, or no passage has a word to index.
        """
        import bm25s

        versions = [metadata.version(name) for name in ("bm25s", "PyStemmer")]
        settings = (str(_K1), str(_B), _WORD.pattern, "title text", "english", *versions)
        folder = (cache or cache_folder()) / "bm25" / fingerprint(store.fingerprint, *settings)

        def opened(folder: Path) -> BM25:
            check_folder(folder)
            return cls(bm25s.BM25.load(folder, mmap=True))

        return open_or_build(folder, opened, partial(_build, store, folder))

    def search(
        self, questions: Sequence[str], top_k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the K best passages of each question.

        Args:
            questions: Q texts.
            top_k: K; above N, all N passages are returned.

        Returns:
            Scores and rows, [Q, min(K, N)] each, ordered by (score descending, row ascending).
            Passages that share no word with the question follow with score 0.

        Raises:
            ArtError: K is below 1.
        """
        if top_k < 1:
            raise ArtError(f"top_k is {top_k}, it must be at least 1")
        width = min(top_k, self._inner.scores["num_docs"])
        scores = np.empty((len(questions), width), dtype=np.float32)
        rows = np.empty((len(questions), width), dtype=np.int64)
        for position, question in enumerate(questions):
            every = self._scores(question)  # [N]
            rows[position] = _best(every, width)
            scores[position] = every[rows[position]]
        return scores, rows

    def _scores(self, question: str) -> NDArray[np.float32]:
        known = self._inner.get_tokens_ids(self._words(question))
        scores: NDArray[np.float32] = self._inner.get_scores_from_ids(known)
        return scores


class _Words:
    """Cuts a text into the words that are matched."""

    def __init__(self) -> None:
        import Stemmer
        from bm25s.stopwords import STOPWORDS_EN_PLUS

        self._stemmer = Stemmer.Stemmer("english")
        self._stop_words = frozenset(STOPWORDS_EN_PLUS)

    def __call__(self, text: str) -> list[str]:
        """Return the stems of a text's words, in order, repetitions included."""
        words = [word for word in _WORD.findall(text.lower()) if word not in self._stop_words]
        stems: list[str] = self._stemmer.stemWords(words)
        return stems


def _build(store: PassageStore, folder: Path) -> None:
    import bm25s

    words = _Words()
    vocabulary: dict[str, int] = {}
    passages = []
    for row in tqdm(range(len(store)), desc="BM25", unit=" passages", unit_scale=True):
        passage = store[row]
        found = words(f"{passage.title} {passage.text}")
        # Arrays, not lists: a list takes twice the memory, and there are N of them.
        passages.append(array("i", [vocabulary.setdefault(w, len(vocabulary)) for w in found]))
    if not vocabulary:
        raise ArtError("no passage has a word to index", where=store.folder)
    inner = bm25s.BM25(k1=_K1, b=_B, method="lucene")
    inner.index((passages, vocabulary), create_empty_token=False, show_progress=False)
    with atomic_folder(folder) as unfinished:
        inner.save(unfinished)
        _check_written(unfinished)
        Checksums.of_folder(unfinished).write(unfinished / CHECKSUMS)


def _check_written(folder: Path) -> None:
    """Raise OSError where a full disk took only a part, which NumPy does not notice."""
    import bm25s

    try:
        bm25s.BM25.load(folder, mmap=True, load_vocab=False)
    except (OSError, ValueError) as error:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def _best(scores: NDArray[np.float32], num_best: int) -> NDArray[np.int64]:
    """Return the rows of the best scores by (score descending, row ascending)."""
    surplus = len(scores) - num_best
    last = np.partition(scores, surplus)[surplus]  # the worst score that can be among the best
    above = np.flatnonzero(scores > last)
    level = np.flatnonzero(scores == last)[: num_best - len(above)]
    rows = np.concatenate([above, level])
    return rows[np.argsort(-scores[rows], kind="stable")]
