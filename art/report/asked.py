"""One HTML page about the questions that `art ask` made, for a person who is to read some of them.

What it draws by a seed it draws by that alone: the same files give the same bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from art.asking.keeping import rejected_path
from art.data.records import ASKED_ABOUT
from art.data.rows import json_objects
from art.report.rendering import PageTable, render
from art.retriever.words import split_words

NUM_SHOWN = 30
_MOST_WORDS = 5_000  # that distinct ones are counted among
_FIRST_WORDS = 5
_LONGEST = 1_500  # characters of a passage that are shown
_MARKS = ("?", "؟", "？")

_YOURS = "yours"
_Row = Mapping[str, Any]


def page_path(output: Path) -> Path:
    """Return where the page about an output goes: `questions.html`."""
    return output.with_suffix(".html")


def render_asked(output: Path, real: Sequence[str], *, seed: int) -> str:
    """Return a page of kept and rejected questions, and how they stand beside real ones.

    Args:
        output: the kept questions; the rejected ones lie beside it.
        real: questions that people asked; there may be none.
        seed: the questions that are shown are drawn by it.

    Raises:
        DataError: a file cannot be read.
    """
    files = {"kept": output, "rejected": rejected_path(output)}
    # Without their passages, which may be long: those of a few are read again.
    found = {
        name: [_without_passage(row) for _, row in json_objects(path)]
        for name, path in files.items()
    }
    texts = {name: [row["question"] for row in rows] for name, rows in found.items()}
    texts |= {_YOURS: list(real)} if real else {}
    shown = {
        name: [_shown(row) for row in _drawn(path, len(found[name]), seed)]
        for name, path in files.items()
    }
    return render(
        "asked.html",
        name=output.name,
        reasons=_reasons(found),
        compared=_compared(texts, found, seed),
        has_real=bool(real),
        shown=shown,
    )


def _without_passage(row: _Row) -> dict[str, str]:
    return {name: str(row.get(name, "")) for name in ("question", "kind", "reason")}


def _drawn(path: Path, count: int, seed: int) -> list[_Row]:
    """Return rows of a file of so many, drawn at random, in its order."""
    places = set(np.random.default_rng(seed).permutation(count)[:NUM_SHOWN].tolist())
    return [row for place, (_, row) in enumerate(json_objects(path)) if place in places]


def _shown(row: _Row) -> dict[str, str]:
    passage = row.get(ASKED_ABOUT)
    about = passage if isinstance(passage, Mapping) else {}
    text = str(about.get("text", ""))
    return _without_passage(row) | {
        "passage_id": str(about.get("id", "")),
        "title": str(about.get("title", "")),
        "text": text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …",
    }


def _reasons(found: Mapping[str, Sequence[_Row]]) -> PageTable:
    """Return how many questions were kept, and how many rejected for each reason."""
    total = max(sum(map(len, found.values())), 1)
    counts = {"kept": len(found["kept"])}
    counts |= dict(Counter(row["reason"] for row in found["rejected"]).most_common())
    rows = [[name, f"{count:,}", _percent(count / total)] for name, count in counts.items()]
    return PageTable(["questions", "%"], rows)


def _compared(
    texts: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[_Row]], seed: int
) -> PageTable:
    """Return how long and how varied the questions are, a column for each group of them."""
    words = {
        name: [cut for text in some if (cut := split_words(text))] for name, some in texts.items()
    }
    # Distinct words grow with all words: counted among as many of each group.
    num_words = min(_MOST_WORDS, *(sum(map(len, some)) for some in words.values()))
    rows = [
        ["questions", *(f"{len(some):,}" for some in texts.values())],
        ["words of a question, median (10 % to 90 %)", *map(_lengths, words.values())],
        [
            f"distinct words among {num_words:,}",
            *(f"{_num_distinct(some, num_words, seed):,}" for some in words.values()),
        ],
        ["most frequent first words, %", *map(_first_words, words.values())],
        ["with a question mark at the end, %", *map(_share_marked, texts.values())],
    ]
    kinds = {name: Counter(row["kind"] for row in some) for name, some in found.items()}
    for kind in dict.fromkeys(kind for counts in kinds.values() for kind in counts):
        shares = [
            _percent(kinds[name][kind] / max(len(some), 1)) if name in kinds else "–"
            for name, some in texts.items()
        ]
        rows.append([f"asked for as {kind}, %", *shares])
    return PageTable(list(texts), rows)


def _lengths(words: Sequence[Sequence[str]]) -> str:
    if not words:
        return "–"
    lengths = [len(one) for one in words]
    low, median, high = np.percentile(lengths, [10, 50, 90], method="inverted_cdf")
    return f"{median} ({low} to {high})"


def _num_distinct(words: Sequence[Sequence[str]], count: int, seed: int) -> int:
    """Return how many distinct words there are among so many, of questions drawn at random."""
    order = np.random.default_rng(seed).permutation(len(words))
    drawn = [word for place in order.tolist() for word in words[place]]
    return len(set(drawn[:count]))


def _first_words(words: Sequence[Sequence[str]]) -> str:
    counts = Counter(one[0] for one in words).most_common(_FIRST_WORDS)
    return ", ".join(f"{word} {_percent(count / len(words))}" for word, count in counts) or "–"


def _share_marked(texts: Sequence[str]) -> str:
    marked = sum(text.rstrip().endswith(_MARKS) for text in texts)
    return _percent(marked / len(texts)) if texts else "–"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
