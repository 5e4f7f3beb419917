"""BM25 over the rows of a store: the lexical baseline, and a second source of candidates.

Words are runs of letters, marks and digits, lower-cased, without the stop words of a language (of
English the long list, which holds the question words) and stemmed; of scripts without spaces each
two characters in a row (`words`). Titles are indexed with the text. Chosen on 176 questions of
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
import math
import os
from array import array
from collections.abc import Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from art.config.manifest import Manifest
from art.data.batching import evenly_spaced
from art.errors import ArtError, DataError, notify
from art.files import atomic_folder, cache_folder, fingerprint
from art.integrity import CHECKSUMS, Checksums, check_folder, open_or_build
from art.retriever.languages import check_language, guess_language
from art.retriever.words import WordCutter, split_words

if TYPE_CHECKING:
    from art.data.passages import PassageStore

_K1 = 0.9
_B = 0.4
_WORD_RULES = "2"  # another number, another index: whenever `words` cuts a text otherwise
_MANIFEST = "words.json"
_SAMPLED_PASSAGES = 512
_MOST_SAMPLED = 10_000  # questions
_LOOKED_AT = 4_096, 256  # passages and questions, before an index is built


class WordRules(Manifest):
    """How the passages of an index were cut into words, which its questions must be too.

    Attributes:
        language: of the stop words and the stemmer; `none` for neither.
        seems: what else than English the passages seem to be, where nobody said.
    """

    language: str
    seems: str = ""


class BM25:
    """The inverted index of a store; `build` it.

    Args:
        inner: the index of the bm25s library.
        rules: how its passages were cut into words.

    Attributes:
        language: of its stop words and stemmer; `none` for neither.
    """

    def __init__(self, inner: Any, rules: WordRules) -> None:
        self._inner = inner
        self._words = WordCutter(rules.language)
        self.language = rules.language

    @classmethod
    def build(
        cls, store: PassageStore, *, language: str | None = None, cache: Path | None = None
    ) -> BM25:
        """Open the inverted index of a store, building it the first time, or where it is damaged.

        Its files are read whole and compared with their checksums: about a second for a gigabyte.

        Args:
            store: the passages.
            language: whose stop words and stemmer, see `languages`; None for English, or for none
                where the passages are plainly something else, which is said.
            cache: folder of things that can be built again; None for the user's.

        Raises:
            ArtError: there is no such language, a file cannot be written, or no passage has a word
                to index.
        """
        import bm25s

        if language is not None:
            check_language(language)
        versions = [metadata.version(name) for name in ("bm25s", "PyStemmer")]
        settings = (str(_K1), str(_B), _WORD_RULES, "title text", language or "", *versions)
        folder = (cache or cache_folder()) / "bm25" / fingerprint(store.fingerprint, *settings)

        def opened(folder: Path) -> tuple[Any, WordRules]:
            check_folder(folder)
            return bm25s.BM25.load(folder, mmap=True), WordRules.read(folder / _MANIFEST)

        inner, rules = open_or_build(folder, opened, partial(_build, store, folder, language))
        if rules.seems:
            _tell(
                f"BM25: the passages seem to be {rules.seems}, so no stop words are left out and "
                "no word is stemmed; --language, in training data.language, states a language"
            )
        return cls(inner, rules)

    def check_use(self, questions: Sequence[str], *, alone: bool = True) -> bool:
        """Return whether it is of use for questions; say how many it finds nothing for, if any.

        Args:
            questions: that it is to search for; 10,000 of them are looked at, evenly spaced.
            alone: nothing else searches for them.

        Raises:
            DataError: it finds nothing for more than half of them, and nothing else searches.
        """
        sample = [questions[i] for i in evenly_spaced(len(questions), _MOST_SAMPLED)]
        known = (self._inner.get_tokens_ids(self._words(question)) for question in sample)
        found_nothing = sum(not ids for ids in known)
        is_no_use = 2 * found_nothing > len(sample)
        said = (
            f"BM25 finds nothing for {found_nothing:,} of {len(sample):,} questions: they share no "
            "word with any passage"
        )
        if is_no_use and alone:
            raise DataError(said, hint="search with a retriever instead")
        if found_nothing:
            _tell(f"{said}; it is of no use" if is_no_use else said)
        return not is_no_use

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

    def score(self, questions: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the scores that given passages have for each question.

        Args:
            questions: Q texts.
            rows: passages of each, [Q, C].

        Returns:
            [Q, C], the scores that `search` gives.
        """
        scores = np.empty(rows.shape, dtype=np.float32)
        for position, question in enumerate(questions):
            scores[position] = self._scores(question)[rows[position]]
        return scores

    def most(self, questions: Sequence[str]) -> NDArray[np.float64]:
        """Return the score of a passage that holds every word of a question any number of times.

        A word that no passage has counts with the weight that BM25 gives to the rarest.

        Args:
            questions: Q texts.

        Returns:
            [Q]; no score of `search` is above it. 0 for a question without words.
        """
        num_passages = self._inner.scores["num_docs"]
        starts = self._inner.scores["indptr"]  # of each word's passages, in one list
        known = self._inner.vocab_dict

        def rarity(word: str) -> float:
            at = known.get(word)
            num_with = 0 if at is None else int(starts[at + 1]) - int(starts[at])
            # Lucene's, as the index was made
            return math.log(1 + (num_passages - num_with + 0.5) / (num_with + 0.5))

        return np.array([sum(map(rarity, self._words(one))) for one in questions], np.float64)

    def _scores(self, question: str) -> NDArray[np.float32]:
        known = self._inner.get_tokens_ids(self._words(question))
        scores: NDArray[np.float32] = self._inner.get_scores_from_ids(known)
        return scores


def share_words(
    store: PassageStore, questions: Sequence[str], *, language: str | None = None
) -> bool:
    """Return whether most questions share a word with some of the passages, without an index.

    Args:
        store: the passages, of which 4,096 are looked at, evenly spaced.
        questions: of which 256 are.
        language: as in `BM25.build`.

    Returns:
        False where they may still share one with other passages.
    """
    cut = WordCutter(rules_for(store, language).language)
    passages = (store[row] for row in evenly_spaced(len(store), _LOOKED_AT[0]))
    known = {word for one in passages for word in cut(f"{one.title} {one.text}", singles=True)}
    asked = [questions[i] for i in evenly_spaced(len(questions), _LOOKED_AT[1])]
    return 2 * sum(not known.isdisjoint(cut(question)) for question in asked) >= len(asked)


def rules_for(store: PassageStore, language: str | None) -> WordRules:
    """Return how a store's passages are cut into words.

    Args:
        store: the passages, some of which are looked at where nobody says.
        language: as it was stated; None where it was not.
    """
    if language is not None:
        return WordRules(language=language)
    sample = (store[row] for row in evenly_spaced(len(store), _SAMPLED_PASSAGES))
    texts = (f"{one.title} {one.text}" for one in sample)
    guessed, seems = guess_language(word for text in texts for word in split_words(text))
    return WordRules(language=guessed, seems=seems)


def _tell(note: str) -> None:
    """Notify the user once, however many processes there are."""
    from art import distributed  # loads torch, which a search by words does without

    if distributed.is_main():
        notify(note)


def _build(store: PassageStore, folder: Path, language: str | None) -> None:
    import bm25s

    rules = rules_for(store, language)
    words = WordCutter(rules.language)
    vocabulary: dict[str, int] = {}
    passages = []
    for row in tqdm(range(len(store)), desc="BM25", unit=" passages", unit_scale=True):
        passage = store[row]
        found = words(f"{passage.title} {passage.text}", singles=True)
        # Arrays, not lists: a list takes twice the memory, and there are N of them.
        passages.append(array("i", [vocabulary.setdefault(w, len(vocabulary)) for w in found]))
    if not vocabulary:
        raise ArtError("no passage has a word to index", where=store.folder)
    inner = bm25s.BM25(k1=_K1, b=_B, method="lucene")
    inner.index((passages, vocabulary), create_empty_token=False, show_progress=False)
    with atomic_folder(folder) as unfinished:
        inner.save(unfinished)
        rules.write(unfinished / _MANIFEST)
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
