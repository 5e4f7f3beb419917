"""Training pairs without labels, cut from the passages themselves: a part asks for the rest.

`inverse-cloze`: a sentence asks for the passage it stood in (Lee et al. 2019, arXiv 1906.00300).
`crops`: one part of a passage asks for another (Izacard et al. 2022, arXiv 2112.09118).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from art.data.contrastive import ContrastiveItem
from art.data.passages import PassageStore
from art.data.prompts import RetrieverTemplate
from art.data.splitting import sentences

Cut = Callable[[str, np.random.Generator], tuple[str, str]]
"""A passage's text and what chance is drawn from → a question and the text that it asks for."""

KEEP = 0.1  # of the sentences stay in their passage, so that words in common count too (Lee et al.)
_SHORTEST, _LONGEST = 0.05, 0.5  # share of a passage that a crop takes (Izacard et al.)


def cloze_items(
    rows: Sequence[int],
    store: PassageStore,
    *,
    cut: Cut,
    question_template: RetrieverTemplate,
    passage_template: RetrieverTemplate,
    seed: int,
    epoch: int,
) -> list[ContrastiveItem]:
    """Return a pair from each passage, a function of (seed, epoch, row) alone.

    The title stays with the passage. A passage without text is asked for by its title.

    Args:
        rows: of the passages.
        store: the passages; the key of each is its row.
        cut: makes a pair of a text.
        question_template: of the retriever.
        passage_template: of the retriever.
        seed: of the run.
        epoch: from 0; each gives other pairs.
    """
    titles, questions, texts = [], [], []
    for row in rows:
        passage = store[row]
        rng = np.random.default_rng((seed, epoch, row))
        question, text = cut(passage.text, rng)
        titles.append(passage.title)
        questions.append(question or passage.title)
        texts.append(text)
    asked, shown = question_template.questions(questions), passage_template(titles, texts)
    keys = np.asarray(rows, dtype=np.uint64)[:, None]  # [n, 1]
    return [
        ContrastiveItem(question, [ids], key, key)
        for question, ids, key in zip(asked, shown, keys, strict=True)
    ]


def inverse_cloze(text: str, rng: np.random.Generator, *, keep: float = KEEP) -> tuple[str, str]:
    """Return a random sentence of a text, and the text it asks for.

    Where the text is one sentence, a random run of its words takes the sentence's place.

    Args:
        text: of a passage.
        rng: what chance is drawn from.
        keep: share of the cases in which the sentence is left in the text; otherwise it is taken
            out, unless it is all there is. 0.1 in the paper.

    Returns:
        The sentence, and the text as it is or without the sentence; white space is single spaces
        where something was taken out. A blank text gives an empty sentence.
    """
    parts = sentences(text)
    left_in = rng.random() < keep
    if len(parts) > 1:
        chosen = int(rng.integers(len(parts)))
        before, question, after = parts[:chosen], parts[chosen], parts[chosen + 1 :]
        rest = list(chain.from_iterable([*before, *after]))
    else:
        words = list(chain.from_iterable(parts))
        start, stop = _crop(len(words), rng)
        question, rest = words[start:stop], words[:start] + words[stop:]
    return _joined(question), text if left_in or not rest else _joined(rest)


def random_crops(text: str, rng: np.random.Generator) -> tuple[str, str]:
    """Return two independent runs of words of a text, each 5 to 50 % of it and a word at least.

    Args:
        text: of a passage.
        rng: what chance is drawn from.

    Returns:
        The question and the text it asks for; both are empty where the text is blank.
    """
    words = list(chain.from_iterable(sentences(text)))
    first, second = (_crop(len(words), rng) for _ in range(2))
    return _joined(words[slice(*first)]), _joined(words[slice(*second)])


def _crop(count: int, rng: np.random.Generator) -> tuple[int, int]:
    """Return where a random run of some of `count` words starts and stops."""
    length = min(count, max(1, round(rng.uniform(_SHORTEST, _LONGEST) * count)))
    start = int(rng.integers(count - length + 1))
    return start, start + length


def _joined(words: Sequence[str]) -> str:
    return "".join(words).lstrip(" ")
