"""Training from what is in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from art import distributed
from art.api.calls import DATA_FOLDER, briefly, join
from art.config import Config
from art.data.in_memory import KindName, Rows, write_rows
from art.data.rows import BadRows
from art.errors import notify
from art.files import fingerprint
from art.retriever.encoders import Retriever
from art.retriever.loading import create_retriever
from art.training import loop
from art.training.interruption import Interrupted, Interruption
from art.training.run_folder import RunFolder, finished_retriever
from art.training.settings import check_config
from art.weights import fingerprint_tensors

# Argument of `train` → section and setting that it is given as.
_SETTINGS = {
    "passages": ("data", "passages"),
    "questions": ("data", "questions"),
    "generated": ("data", "generated"),
    "supervised": ("data", "supervised"),
    "evaluation_questions": ("evaluation", "questions"),
    "evaluation_supervised": ("evaluation", "supervised"),
    "retriever": ("retriever", "model"),
    "teacher": ("teacher", "model"),
    "output": ("output", "folder"),
}
_KINDS: dict[str, KindName] = {
    "passages": "passages",
    "questions": "questions",
    "generated": "questions",
    "supervised": "supervised",
    "evaluation_questions": "questions",
    "evaluation_supervised": "supervised",
}


@briefly
def train(
    passages: str | Path | Rows | None = None,
    questions: str | Path | Rows | None = None,
    *,
    retriever: str | Path | Retriever | Mapping[str, Any],
    output: str | Path | Mapping[str, Any],
    teacher: str | Path | Mapping[str, Any] | None = None,
    generated: str | Path | Rows | None = None,
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
        teacher: the language model that teaches, or a section of settings.
        generated: questions that a language model wrote, in the place of `questions` or, with
            `training={"generated_share": 0.5}`, beside them.
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
        "generated": generated,
        "supervised": supervised,
        "evaluation_questions": evaluation_questions,
        "evaluation_supervised": evaluation_supervised,
        "retriever": retriever,
        "teacher": teacher,
        "output": output,
    }
    if isinstance(retriever, str | Path):
        arguments["retriever"] = finished_retriever(Path(retriever)) or retriever
    given = {name: value for name, value in arguments.items() if value is not None}
    in_memory = {name: value for name, value in given.items() if _is_in_memory(name, value)}
    # What is wrong with the settings should not wait for the data to be written.
    wanted = _settings(given | {name: name for name in in_memory}, sections)
    interruption = Interruption(outlived=True)
    try:
        with interruption.listening():
            device = join(cpu=wanted.training.cpu)
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
    folder = Path(config.output.folder) / DATA_FOLDER
    files = {}
    for argument, value in in_memory.items():
        if isinstance(value, Retriever):
            files[argument] = str(_save_once(value, folder))
            continue
        bad_rows = BadRows() if config.data.skip_bad_rows else None
        path = write_rows(_KINDS[argument], value, folder, argument=argument, bad_rows=bad_rows)
        if bad_rows and bad_rows.count:
            notify(bad_rows.report())
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
