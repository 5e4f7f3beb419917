"""ART: train dense retrievers from questions alone, with a frozen language model as the teacher.

The rooms, in the order of the method; each imports only from those before it:

- `art.errors`, `art.registry`, `art.network`, `art.files`: messages for the user; what is chosen by
  name; whether the hub can be reached; atomic writes
- `art.config`: every setting, declared once
- `art.integrity`: checksums, and what can be built again
- `art.distributed`: the processes of one job
- `art.data`: documents, passages, questions, supervised examples, prompts, tokens
- `art.weights`: where models come from
- `art.retriever`, `art.teacher`: the student and its index; the frozen teacher
- `art.evaluation`: rankings → metrics
- `art.mining`, `art.answering`: hard negatives, from an index or BM25; readers, which find answers
  in passages
- `art.training`: the method (`steps`), the loop around it, its checkpoints
- `art.planning`: what a run will take, and settings to begin with
- `art.diagnosis`: how good a teacher is, before training
- `art.asking`: questions about passages, written by a language model, for who has none
- `art.interop`: folders of other tools
- `art.report`: metrics as text, runs as one page
- `art.api`: the short way from Python
- `art.demo`, `art.repl`, `art.cli`: the built-in demonstration, questions at a prompt, the
  command line

Importing this package loads nothing heavy; the names below are looked up when first used.
"""

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# OpenMP's threads spin while they wait for each other, and keep the cores from whatever else runs:
# two commands on the same cores slow each other many times. So they spin as long as it takes from
# one operation of a model to the next, and then sleep. The runtimes (GNU's; LLVM's and Intel's, in
# milliseconds) read this as they load, and PyTorch and FAISS load them: hence it stands here.
_WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
if not {"OMP_WAIT_POLICY", *_WAITING} & os.environ.keys():
    os.environ.update(_WAITING)

_FRONT_DOOR = {
    "load": "art.api",
    "train": "art.api",
    "index": "art.api",
    "load_index": "art.api",
    "Searcher": "art.api",
    "Hit": "art.api",
    "Retriever": "art.retriever.encoders",
    "Teacher": "art.teacher.base",
    "PassageStore": "art.data.passages",
    "Index": "art.retriever.index",
    "load_retriever": "art.retriever.loading",
    "create_retriever": "art.retriever.loading",
    "load_teacher": "art.teacher.registry",
    "read_config": "art.training.settings",
}

__all__ = ["__version__", *_FRONT_DOOR]  # noqa: PLE0604 (names that __getattr__ provides)


def __getattr__(name: str) -> Any:
    if name in _FRONT_DOOR:
        return getattr(import_module(_FRONT_DOOR[name]), name)
    raise AttributeError(f"module 'art' has no attribute {name!r}")
