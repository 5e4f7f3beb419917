"""What each evaluated question found, kept beside the metrics so that a person can look at it.

A file has a JSON object a line, one for each question in the order of the evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from art.config import Manifest
from art.data.rows import json_objects
from art.evaluation.metrics import metric
from art.evaluation.statistics import wilson
from art.files import atomic_write

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from art.data.passages import PassageStore
    from art.evaluation.evaluate import Evaluation

NUM_PASSAGES = 5
TEXT_LENGTH = 400


class KeptPassage(Manifest):
    """One of the first passages of a question; its text is cut after `TEXT_LENGTH` characters.

    Attributes:
        id: the passage's.
        title: empty where there is none.
        text: the beginning of it.
        score: of the retriever.
        hit: whether it answers the question; None where no label tells.
    """

    id: str
    title: str
    text: str
    score: float
    hit: bool | None

    @classmethod
    def of_text(cls, title: str, text: str, **others: Any) -> Self:
        """Return a passage of whole texts."""
        return cls(title=_cut(title), text=_cut(text), **others)


class KeptRanking(Manifest):
    """What one question found.

    Attributes:
        id: the question's.
        question: its text.
        metrics: name → value; None where the metric does not apply to the question.
        depth: how many passages were looked at.
        first_hit: rank of the first that answers the question, from 1; None where none of them
            does, or no label tells.
        passages: the first `NUM_PASSAGES` of them.
    """

    id: str
    question: str
    metrics: dict[str, float | None]
    depth: int
    first_hit: int | None
    passages: tuple[KeptPassage, ...]


def write_rankings(path: str | Path, result: Evaluation, store: PassageStore) -> None:
    """Write what each question of an evaluation found, atomically.

    Args:
        path: a `.jsonl`.
        result: the evaluation.
        store: its passages.

    Raises:
        ArtError: the file cannot be written.
    """
    with atomic_write(path) as file:
        for ranking in kept_rankings(result, store):
            line = json.dumps(ranking.model_dump(mode="json"), ensure_ascii=False)
            file.write(f"{line}\n".encode())


def read_rankings(path: str | Path) -> list[KeptRanking]:
    """Read what `write_rankings` wrote.

    Raises:
        ArtError: the file cannot be read, or a line of it is damaged; names the line.
    """
    return [
        KeptRanking.of(row, where=f"{path}:{number}") for number, row in json_objects(Path(path))
    ]


def share_interval(
    name: str, value: float, num_questions: int, kept: Sequence[KeptRanking] | None
) -> tuple[float, float] | None:
    """Return the 95 % interval of a metric of an evaluation; None where it has none.

    Args:
        name: of the metric.
        value: of the metric.
        num_questions: evaluated.
        kept: what the questions found at any step, of a run that kept it.
    """
    if not metric(name).has_interval:
        return None
    if kept is not None:  # some questions may have judgements and no label of their own
        num_questions = sum(one.metrics.get(name) is not None for one in kept)
    return wilson(round(value * num_questions), num_questions)


def kept_rankings(result: Evaluation, store: PassageStore) -> Iterator[KeptRanking]:
    """Yield what each question of an evaluation found, in their order.

    Args:
        result: the evaluation.
        store: its passages.
    """
    for position, question in enumerate(result.questions):
        labels = result.hits if result.labelled[position] else None
        hits = None if labels is None else labels[position]
        yield KeptRanking(
            id=question.question_id,
            question=question.text,
            metrics={
                name: None if np.isnan(values[position]) else float(values[position])
                for name, values in result.per_question.items()
            },
            depth=result.rows.shape[1],
            first_hit=None if hits is None or not hits.any() else int(hits.argmax()) + 1,
            passages=tuple(_passages(result, store, position, hits)),
        )


def _passages(
    result: Evaluation, store: PassageStore, position: int, hits: NDArray[np.bool_] | None
) -> Iterator[KeptPassage]:
    for rank, row in enumerate(result.rows[position, :NUM_PASSAGES].tolist()):
        passage = store[row]
        yield KeptPassage.of_text(
            passage.title,
            passage.text,
            id=passage.passage_id,
            # The shortest number that reads back as this float32, as in result files.
            score=float(str(np.float32(result.scores[position, rank]))),
            hit=None if hits is None else bool(hits[rank]),
        )


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_LENGTH else text[:TEXT_LENGTH].rstrip() + " …"
