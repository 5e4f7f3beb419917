"""ART: train dense retrievers from questions alone, with a frozen language model as the teacher.

The rooms, in the order of the method; each imports only from those before it:

- `art.errors`, `art.files`: what a user is told; writes that survive a kill
- `art.config`: every setting, declared once
- `art.checked`: checksums, and what can be built again
- `art.distributed`: the processes of one job
- `art.data`: documents, passages, questions, supervised examples, prompts, tokens
- `art.weights`: where models come from
- `art.retriever`, `art.scorer`: the student and its index; the frozen teacher
- `art.evaluation`: rankings → figures
- `art.mining`: hard negatives, from an index or BM25
- `art.training`: the method (`steps`), the loop around it, its checkpoints
- `art.planning`: what a run will take, and settings to begin with
- `art.diagnosis`: what a teacher could teach, before training
- `art.report`: figures as text, runs as one page
- `art.notebook`: the short way from Python
- `art.demo`, `art.dialogue`, `art.cli`: the built-in demonstration, questions at a prompt, the
  command line

Importing this package loads nothing heavy; the names below are looked up when first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_FRONT_DOOR = {
    "load": "art.notebook",
    "train": "art.notebook",
    "index": "art.notebook",
    "load_index": "art.notebook",
    "Searcher": "art.notebook",
    "Hit": "art.notebook",
    "Retriever": "art.retriever.encoders",
    "Scorer": "art.scorer.likelihood",
    "PassageStore": "art.data.passages",
    "Index": "art.retriever.index",
    "load_retriever": "art.retriever.loading",
    "create_retriever": "art.retriever.loading",
    "load_scorer": "art.scorer.likelihood",
    "load_teacher": "art.scorer.teachers",
    "read_config": "art.config",
}

__all__ = ["__version__", *_FRONT_DOOR]  # noqa: PLE0604 (names that __getattr__ provides)


def __getattr__(name: str) -> Any:
    if name in _FRONT_DOOR:
        return getattr(import_module(_FRONT_DOOR[name]), name)
    raise AttributeError(f"module 'art' has no attribute {name!r}")
