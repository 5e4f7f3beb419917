"""`art.train` from what is in memory: the same bits as from files, again, and after Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import threading
import traceback
from pathlib import Path

import datasets
import pytest
from api_job import TrainTwice
from command import run
from forked import finish
from whole_run import configure, left_behind, records, weights

import art
from art.errors import ArtError, ConfigFaults
from art.training.methods import art_step as method
from art.training.run_folder import RunFolder

ART = ("passages", "questions", "evaluation_questions")


def from_files(settings, folder: Path, **training) -> Path:
    """Train with `art train` and return the run folder."""
    (folder / "config.yaml").write_text(
        configure(settings, folder / "run", training=training).to_yaml()
    )
    assert run("train", "--config", folder / "config.yaml") == 0
    return folder / "run"


@pytest.fixture(scope="module")
def expected(settings, tmp_path_factory) -> tuple:
    return left_behind(from_files(settings, tmp_path_factory.mktemp("files")))


@pytest.fixture
def given(rows, sections) -> dict:
    return {**{name: rows[name] for name in ART}, **sections}


def test_lists_train_what_their_files_do_and_the_same_call_returns_it_again(
    given, expected, tmp_path
) -> None:
    trained = art.train(**given, output=tmp_path / "run")
    assert left_behind(tmp_path / "run") == expected
    files = sorted((tmp_path / "run" / "data").iterdir())
    assert [file.name.split("-")[0] for file in files] == [
        "evaluation_questions", "passages", "questions"
    ]  # fmt: skip
    metrics = (tmp_path / "run" / "metrics.jsonl").stat()
    again = art.train(**given, output=tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").stat() == metrics
    assert sorted((tmp_path / "run" / "data").iterdir()) == files
    vectors = [one.embed_questions(["who ?"]).tobytes() for one in (trained, again)]
    assert vectors[0] == vectors[1]
    with pytest.raises(ArtError, match=r"other settings: data\.questions"):
        art.train(**given | {"questions": given["questions"][1:]}, output=tmp_path / "run")


def test_datasets_train_what_lists_do(given, expected, tmp_path) -> None:
    as_datasets = {
        "passages": datasets.Dataset.from_list(given["passages"]),
        "questions": datasets.Dataset.from_dict({"question": given["questions"]}),
        "evaluation_questions": datasets.Dataset.from_list(given["evaluation_questions"]),
    }
    art.train(**given | as_datasets, output=tmp_path / "run")
    assert left_behind(tmp_path / "run") == expected


def test_labelled_lists_and_datasets_train_what_their_file_does(
    settings, rows, sections, tmp_path
) -> None:
    def left(folder: Path) -> tuple:
        tensors = {name: one.tobytes() for name, one in weights(folder / "last").items()}
        return records(folder), tensors

    changed = {"method": "dpr", "max_steps": 3}
    unscored = {name: values for name, values in settings.items() if name != "teacher"}
    of_file = left(from_files(unscored, tmp_path, **changed))
    given = {
        **{name: rows[name] for name in ("passages", "evaluation_questions")},
        **{name: sections[name] for name in ("retriever", "index", "data", "evaluation")},
        "training": {**sections["training"], **changed},
    }
    examples = rows["supervised"]
    for name, some in (("list", examples), ("dataset", datasets.Dataset.from_list(examples))):
        art.train(**given, supervised=some, output=tmp_path / name)
        assert left(tmp_path / name) == of_file


def test_a_labelled_row_that_is_broken_can_be_left_out(
    settings, rows, sections, tmp_path, capsys
) -> None:
    examples = [*rows["supervised"][:2], {"question": "where?"}, *rows["supervised"][2:]]
    examples[2]["positive_ctxs"] = "no list"
    art.train(
        supervised=examples,
        retriever=sections["retriever"],
        data={**sections["data"], "skip_bad_rows": True},
        training={**sections["training"], "method": "dpr", "max_steps": 1},
        output=tmp_path / "run",
    )
    assert "note: skipped 1 row: supervised[2]: 'positive_ctxs'" in capsys.readouterr().err


def test_a_retriever_in_memory_starts_as_the_one_it_was_saved_as(given, settings, tmp_path) -> None:
    given["training"] = {**given["training"], "max_steps": 1}
    start = art.load(**settings["retriever"], cpu=True)
    art.train(**given | {"retriever": start}, output=tmp_path / "memory")
    start.save(tmp_path / "start")
    art.train(**given | {"retriever": tmp_path / "start"}, output=tmp_path / "saved")
    assert left_behind(tmp_path / "memory") == left_behind(tmp_path / "saved")
    art.train(**given | {"retriever": start}, output=tmp_path / "memory")  # known again
    trained = art.train(**given | {"retriever": tmp_path / "memory"}, output=tmp_path / "next")
    assert trained.settings == start.settings


def test_every_wrong_setting_is_told_before_anything_is_written(given, tmp_path) -> None:
    with pytest.raises(ConfigFaults) as caught:
        art.train(
            **given | {"data": {"questions": "q.txt"}, "training": {"epoch": 3}, "teacher": 5},
            output=tmp_path / "run",
            indices={},
        )
    assert caught.value.faults == [
        "art.train: data.questions: is given twice, also as questions=",
        "art.train: teacher.model: input should be a valid string, got 5",
        "art.train: training.epoch: no such setting; did you mean training.epochs?",
        "art.train: indices: no such setting",
    ]
    assert not (tmp_path / "run").exists()


def test_a_bad_row_is_one_short_line_and_can_be_left_out(given, tmp_path, capsys) -> None:
    passages = [*given["passages"][:30], {"id": "broken"}, *given["passages"][30:]]
    with pytest.raises(ArtError) as caught:
        art.train(**given | {"passages": passages}, output=tmp_path / "run")
    assert str(caught.value) == ("passages[30]: no 'text' or 'contents' in the row (it has 'id')")
    assert len(traceback.extract_tb(caught.value.__traceback__)) == 2
    skipping = {"data": {**given["data"], "skip_bad_rows": True}}
    given["training"] = {**given["training"], "max_steps": 1}
    art.train(**given | {"passages": passages} | skipping, output=tmp_path / "run")
    assert "note: skipped 1 row: passages[30]: no 'text'" in capsys.readouterr().err


@pytest.fixture
def strike(monkeypatch):
    """Return what makes this process send itself Ctrl-C in a step of its training."""

    def at(call: int) -> None:
        calls, original = [], method.similarity

        def striking(*args, **kwargs):
            calls.append(1)
            if len(calls) == call:
                os.kill(os.getpid(), signal.SIGINT)
            return original(*args, **kwargs)

        monkeypatch.setattr(method, "similarity", striking)

    return at


def test_ctrl_c_saves_the_step_and_the_same_call_goes_on_to_the_same_bits(
    given, expected, strike, tmp_path
) -> None:
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    strike(call=9)  # two micro-batches a step
    with pytest.raises(KeyboardInterrupt, match="step 5 is finished and saved"):
        art.train(**given, output=tmp_path / "run")
    assert {one: signal.getsignal(one) for one in before} == before
    assert RunFolder(tmp_path / "run").steps()[-1] == 5
    with pytest.raises(ArtError, match="this run has not finished"):
        art.load(tmp_path / "run")
    art.train(**given, output=tmp_path / "run")
    assert left_behind(tmp_path / "run") == expected


def test_training_runs_outside_the_main_thread(given, expected, tmp_path) -> None:
    thread = threading.Thread(target=art.train, kwargs={**given, "output": tmp_path / "run"})
    thread.start()
    thread.join()
    assert left_behind(tmp_path / "run") == expected


def test_two_processes_train_twice_and_search_together(given, tmp_path) -> None:
    given["training"] = {**given["training"], "max_steps": 1}
    ended = finish(["--version"], tmp_path, world_size=2, before=[TrainTwice(given, tmp_path)])
    assert [status for status, _ in ended] == [0, 0], ended
    first, second = ((tmp_path / f"metrics-{rank}.json").read_text() for rank in (0, 1))
    assert first == second
    alone = art.load_index(tmp_path / "index", tmp_path / "second")
    assert alone.evaluate(given["evaluation_questions"]) == json.loads(first)


def test_a_device_that_accelerate_cannot_leave_is_named(given, tmp_path) -> None:
    elsewhere = TrainTwice(given, tmp_path, {"ACCELERATE_TORCH_DEVICE": "meta"})
    [(status, said)] = finish(["--version"], tmp_path, before=[elsewhere])
    assert status == 1
    assert said.splitlines()[-1] == (
        "art.errors.ArtError: training.cpu: accelerate keeps to the meta, which this process began "
        "with (start a new process; for a notebook, restart its kernel)"
    )
