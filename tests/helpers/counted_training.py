"""A run that keeps account of its teacher, in one process or in several."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from art.config import Config
from art.teacher.cached import CachedTeacher, ScoredPairs
from art.teacher.transformer import TransformerTeacher
from art.training.loop import train


@dataclass
class Account:
    """What one process asked its teacher for, and what the model was given.

    Attributes:
        asked: question and row of each pair of a step.
        scored: token ids of each pair's context and target.
    """

    asked: list[tuple[str, int]] = field(default_factory=list)
    scored: list[tuple[str, str]] = field(default_factory=list)


def train_and_count(config: Config) -> Account:
    account = Account()
    score, score_pairs = CachedTeacher.score, TransformerTeacher.score_pairs

    def asking(self: CachedTeacher, questions: list[str], rows: np.ndarray) -> ScoredPairs:
        if np.shape(rows)[1] > 1:  # a step's; what is scored ahead is asked for pair by pair
            for question, of_question in zip(questions, rows, strict=True):
                account.asked += [(question, int(row)) for row in of_question]
        return score(self, questions, rows)

    def scoring(self: TransformerTeacher, pairs: list) -> np.ndarray:
        for context, target in pairs:
            account.scored.append((str(list(map(int, context))), str(list(map(int, target)))))
        return score_pairs(self, pairs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CachedTeacher, "score", asking)
        patch.setattr(TransformerTeacher, "score_pairs", scoring)
        # What it is asked as it loads is no pair of the run.
        patch.setattr(TransformerTeacher, "read_one_length", lambda self: self)
        train(config)
    return account
