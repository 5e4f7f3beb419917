"""The short way from Python: `load`, `train`, `index`, `load_index`, each a call of its own.

What a user of a notebook has in memory is written once into the folder of the run or the index, and
goes through the readers, settings and checkpoints of the command line from there. Under a launcher
every process makes the same calls.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import torch

from art import distributed
from art.config import RETRIEVER_FOLDER, Config, check_config
from art.data.formats import read_questions
from art.data.in_memory import KindName, Rows, questions_of, write_rows
from art.data.passages import PassageStore
from art.data.rows import BadRows
from art.data.tokens import TokenStore
from art.errors import ArtError, tell
from art.evaluation.evaluate import evaluate
from art.files import fingerprint
from art.retriever.embedding import embed_passages
from art.retriever.encoders import MANIFEST, Retriever
from art.retriever.index import Index
from art.retriever.loading import create_retriever
from art.training import loop
from art.training.interruption import Interrupted, Interruption
from art.training.run_folder import RunFolder
from art.weights import fingerprint_tensors

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")

_DATA_FOLDER = "data"  # of a run or an index: what was given in memory

# Argument of `train` → section and setting that it is given as.
_SETTINGS = {
    "passages": ("data", "passages"),
    "questions": ("data", "questions"),
    "supervised": ("data", "supervised"),
    "evaluation_questions": ("evaluation", "questions"),
    "evaluation_supervised": ("evaluation", "supervised"),
    "retriever": ("retriever", "model"),
    "scorer": ("scorer", "model"),
    "output": ("output", "folder"),
}
_KINDS: dict[str, KindName] = {
    "passages": "passages",
    "questions": "questions",
    "supervised": "supervised",
    "evaluation_questions": "questions",
    "evaluation_supervised": "supervised",
}


class Hit(NamedTuple):
    """A passage that was found."""

    passage_id: str
    title: str
    text: str
    score: float


def _briefly(call: Callable[Parameters, Value]) -> Callable[Parameters, Value]:
    """Let what a user can mend arrive as its message, without the frames it came through."""

    @wraps(call)
    def brief(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Value:
        try:
            return call(*args, **kwargs)
        except ArtError as error:
            # A notebook keeps the last exception, and its frames would keep models in memory.
            error.__context__ = None
            raise error.with_traceback(None) from None

    return brief


class Searcher:
    """A retriever, the index it made, and the passages: what questions are asked of.

    Args:
        retriever: its question tower embeds.
        index: of the passages under this retriever.
        store: the passages.
    """

    def __init__(self, retriever: Retriever, index: Index, store: PassageStore) -> None:
        self.retriever = retriever
        self.index = index
        self.store = store

    @_briefly
    def search(self, questions: str | Rows, top_k: int = 5) -> list[list[Hit]]:
        """Return for each question the passages with the largest inner products, best first.

        Args:
            questions: one text, or several as for `train`.
            top_k: how many passages each.

        Raises:
            ArtError: a question is malformed, or `top_k` below 1.
        """
        asked = questions_of([questions] if isinstance(questions, str) else questions, "questions")
        vectors = self.retriever.embed_questions([question.text for question in asked])
        scores, rows = self.index.search(vectors, top_k)
        return [
            [self._hit(row, score) for row, score in zip(*found, strict=True)]
            for found in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def _hit(self, row: int, score: float) -> Hit:
        passage = self.store[row]
        return Hit(passage.passage_id, passage.title, passage.text, score)

    @_briefly
    def evaluate(self, questions: str | Path | Rows) -> dict[str, float]:
        """Return the share of questions that the first 1, 5, 20, 50 and 100 passages answer.

        Args:
            questions: labelled with `answers` or `positive_passage_ids`; a file, or in memory.

        Returns:
            `top_1`, `top_5`, …; what a reader of them must know besides is told as a note.

        Raises:
            ArtError: a question is malformed, or none has a label.
        """
        asked = (
            read_questions(questions)
            if isinstance(questions, str | Path)
            else questions_of(questions, "questions")
        )
        found = evaluate(self.retriever, self.index, self.store, asked)
        for note in found.notes:
            tell(note)
        return found.figures


@_briefly
def load(model: str | Path, *, cpu: bool = False, **settings: Any) -> Retriever:
    """Return a retriever, trained or not, in evaluation mode and on the GPU if there is one.

    Args:
        model: a folder that `Retriever.save` wrote; the folder of a finished run; or a start, as
            the setting `retriever.model`: a hub name, a model folder, `pip:wordllama`, ….
        cpu: stay on the CPU.
        settings: others of the section `retriever`, such as `pooling="mean"`.

    Raises:
        ArtError: it cannot be loaded, the run has not finished, or a setting is wrong.
    """
    document = {
        "data": {"supervised": "-"},  # nothing is read: only the section is checked
        "retriever": {**settings, "model": str(_finished(Path(model)) or model)},
        "training": {"method": "dpr"},
        "output": {"folder": "-"},
    }
    config = check_config(document, source="art.load")
    return create_retriever(**config.retriever.model_dump()).to(_join(cpu=cpu))


def _finished(run: Path) -> Path | None:
    """Return the retriever of a run folder, None for the folder of something else."""
    if (run / RETRIEVER_FOLDER / MANIFEST).is_file():
        return run / RETRIEVER_FOLDER
    if RunFolder(run).config_file.is_file() and RunFolder(run).steps():
        raise ArtError(
            "this run has not finished, so it has no retriever yet",
            where=run,
            hint="train it to the end: the same call or command goes on",
        )
    return None


@_briefly
def train(
    passages: str | Path | Rows | None = None,
    questions: str | Path | Rows | None = None,
    *,
    retriever: str | Path | Retriever | Mapping[str, Any],
    output: str | Path | Mapping[str, Any],
    scorer: str | Path | Mapping[str, Any] | None = None,
    supervised: str | Path | Rows | None = None,
    evaluation_questions: str | Path | Rows | None = None,
    evaluation_supervised: str | Path | Rows | None = None,
    **sections: Mapping[str, Any],
) -> Retriever:
    """Train a retriever and return it; the same call goes on with a run that was interrupted.

    Data are a file, as in the settings, or in memory: a list or a `datasets.Dataset` of rows. What
    is in memory is written into the run folder once.

    Args:
        passages: texts, or mappings with `text` and perhaps `id` and `title`. One without an id is
            called after its position, from 0.
        questions: texts, or mappings with `question` and perhaps `answers`.
        retriever: the start: what `load` takes or returned; or a section of settings.
        output: the run folder, or a section of settings.
        scorer: the language model that teaches, or a section of settings.
        supervised: for `training={"method": "dpr"}`: mappings with `question`, `positive_ctxs` and
            `hard_negative_ctxs`, as in DPR's files.
        evaluation_questions: to choose the checkpoint on, with `answers` or `positive_passage_ids`.
        evaluation_supervised: to choose the checkpoint on without a corpus.
        sections: settings by section, such as `training={"epochs": 3}`; `art train --help` lists
            them.

    Raises:
        ArtError: the settings, the data or the disk do not allow it.
        KeyboardInterrupt: Ctrl-C, or a notebook's stop button; a step is finished and saved first,
            unless it comes twice.
    """
    arguments: dict[str, Any] = {
        "passages": passages,
        "questions": questions,
        "supervised": supervised,
        "evaluation_questions": evaluation_questions,
        "evaluation_supervised": evaluation_supervised,
        "retriever": retriever,
        "scorer": scorer,
        "output": output,
    }
    if isinstance(retriever, str | Path):
        arguments["retriever"] = _finished(Path(retriever)) or retriever
    given = {name: value for name, value in arguments.items() if value is not None}
    in_memory = {name: value for name, value in given.items() if _is_in_memory(name, value)}
    # What is wrong with the settings should not wait for the data to be written.
    wanted = _settings(given | {name: name for name in in_memory}, sections)
    interruption = Interruption(outlived=True)
    try:
        with interruption.listening():
            device = _join(cpu=wanted.training.cpu)
            files: dict[str, str] = {}
            with distributed.fail_together():
                if distributed.is_main():
                    files = _write(in_memory, wanted)
            config = _settings(given | distributed.broadcast_object(files), sections)
            loop.train(config, interruption=interruption)
            result = RunFolder(Path(config.output.folder)).result_folder
            return create_retriever(str(result)).to(device)
    except Interrupted as end:
        said = str(end)
    raise KeyboardInterrupt(said)  # out here, without the frames of the run


def _is_in_memory(argument: str, value: Any) -> bool:
    if argument in _KINDS:
        return not isinstance(value, str | Path)
    return isinstance(value, Retriever)


def _settings(given: Mapping[str, Any], sections: Mapping[str, Any]) -> Config:
    """Return the settings that arguments and sections make together.

    Args:
        given: arguments of `train`: names, or sections in the place of one.
        sections: the other sections.

    Raises:
        ConfigFaults: anything is wrong; it lists every fault.
    """
    document = {
        name: dict(values) if isinstance(values, Mapping) else values
        for name, values in sections.items()
    }
    faults = []
    for argument, value in given.items():
        section, key = _SETTINGS[argument]
        if isinstance(value, Mapping):
            document[section] = dict(value)
            continue
        values = document.setdefault(section, {})
        if not isinstance(values, dict):
            continue  # a fault that is found below
        if key in values:
            faults.append(f"art.train: {section}.{key}: is given twice, also as {argument}=")
        values[key] = str(value) if isinstance(value, Path) else value
    return check_config(document, source="art.train", faults=faults)


def _write(in_memory: Mapping[str, Any], config: Config) -> dict[str, str]:
    """Write what was given in memory into the run folder; return the names it has there."""
    folder = Path(config.output.folder) / _DATA_FOLDER
    files = {}
    for argument, value in in_memory.items():
        if isinstance(value, Retriever):
            files[argument] = str(_save_once(value, folder))
            continue
        bad_rows = BadRows() if config.data.skip_bad_rows else None
        path = write_rows(_KINDS[argument], value, folder, argument=argument, bad_rows=bad_rows)
        if bad_rows and bad_rows.count:
            tell(bad_rows.report())
        files[argument] = str(path)
    return files


def _save_once(retriever: Retriever, folder: Path) -> Path:
    """Save a retriever under a name that stands for it, unless it is there already."""
    key = fingerprint(
        fingerprint_tensors(retriever.state_dict().items()),
        repr(retriever.settings),
        retriever.question_template.fingerprint,
        retriever.passage_template.fingerprint,
    )
    path = folder / f"retriever-{key}"
    if not path.exists():
        retriever.save(path)
    return path


@_briefly
def index(
    retriever: str | Path | Retriever, passages: str | Path | Rows, folder: str | Path
) -> Searcher:
    """Embed a corpus and return what searches it; the same call goes on where one was interrupted.

    Args:
        retriever: what `load` takes or returned.
        passages: a file, or in memory, as for `train`.
        folder: of the index. Passages from memory are kept there too, so that it can be moved.

    Raises:
        ArtError: the passages are malformed, or the disk refuses the index.
    """
    folder = Path(folder)
    model = retriever if isinstance(retriever, Retriever) else load(retriever)
    _join(cpu=model.device.type == "cpu")
    source, cache = passages, None
    with distributed.fail_together():
        if not isinstance(passages, str | Path):
            cache = folder / _DATA_FOLDER
            if distributed.is_main():
                source = write_rows("passages", passages, cache, argument="passages")
    source = distributed.broadcast_object(source)
    assert isinstance(source, str | Path)
    progress = distributed.is_main()
    with distributed.fail_together():
        store = PassageStore.open_or_build(source, cache=cache, progress=progress)
        tokens = TokenStore.open_or_build(store, model.passage_template, progress=progress)
    return Searcher(model, embed_passages(model, tokens, folder, store=store), store)


@_briefly
def load_index(
    folder: str | Path,
    retriever: str | Path | Retriever,
    *,
    passages: str | Path | None = None,
) -> Searcher:
    """Open what `index` or `art embed` made.

    Args:
        folder: of the index.
        retriever: that made it: what `load` takes or returned.
        passages: the corpus file, where it is no longer where the index found it.

    Raises:
        ArtError: there is no index, its passages are gone, or another retriever made it.
    """
    model = retriever if isinstance(retriever, Retriever) else load(retriever)
    opened = Index.open(folder, retriever_fingerprint=model.fingerprint())
    beside = Path(folder) / _DATA_FOLDER / "stores" / opened.store_folder.name
    moved = not opened.store_folder.exists() and beside.exists()
    return Searcher(model, opened, opened.open_store(beside if moved else passages))


def _join(*, cpu: bool) -> torch.device:
    """Join the other processes, if a launcher started several, and leave them when this one ends.

    Who has left a group cannot join it again, so nobody does between two calls.
    """
    device = distributed.start(cpu=cpu)
    if distributed.world_size() > 1:
        atexit.register(distributed.stop)
    return device
