"""File formats: each is a module of this folder that adds itself to `FORMATS`.

    base       what a format says of itself, and which one a file has
    reading    read_passages, read_questions, read_supervised, read_qrels, read_run

Each of the others is a format: passages_…, questions_…, supervised_…, judgements_…, results_….
Another format is another module here, which nothing else needs to name. Rows and their complaints
are in `art.data.rows`, what the rows mean in `art.data.records`.
"""

from art.data.formats.base import (
    FORMATS,
    Format,
    Judgement,
    JudgementFormat,
    PassageFormat,
    QuestionFormat,
    QuestionResult,
    Ranking,
    ResultFormat,
    SupervisedFormat,
    prefixed_format,
    source_files,
)
from art.data.formats.reading import (
    Run,
    numbered_passages,
    read_many_questions,
    read_passages,
    read_qrels,
    read_questions,
    read_run,
    read_supervised,
    run_format,
)
from art.data.records import Passage, Question, SupervisedExample
from art.registry import import_all

__all__ = [
    "FORMATS",
    "Format",
    "Judgement",
    "JudgementFormat",
    "Passage",
    "PassageFormat",
    "Question",
    "QuestionFormat",
    "QuestionResult",
    "Ranking",
    "ResultFormat",
    "Run",
    "SupervisedExample",
    "SupervisedFormat",
    "numbered_passages",
    "prefixed_format",
    "read_many_questions",
    "read_passages",
    "read_qrels",
    "read_questions",
    "read_run",
    "read_supervised",
    "run_format",
    "source_files",
]

import_all(__name__, __path__)
