"""Runs whose files a bad disk has changed: what is found, where they go on, and the same bits."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damage import spoil
from killed_run import kill
from whole_run import NUM_STEPS, configure, records, weights

from art.config import Config
from art.errors import CorruptionError
from art.retriever.index import Index
from art.retriever.loading import load_retriever
from art.teacher.log_file import RECORD, read_log
from art.training import loop
from art.training.checkpoints import load_state
from art.training.loop import train
from art.training.run_folder import RunFolder

WEIGHTS = "retriever/question_tower/model.safetensors"


@pytest.fixture(scope="module")
def killed(settings, tmp_path_factory) -> Callable[..., Config]:
    """Copies of a run killed in its fourth step: checkpoint 2, refresh due, and 3 with index 2."""
    original = tmp_path_factory.mktemp("killed")
    kill(configure(settings, original), 3)
    assert RunFolder(original).steps() == [2, 3]

    def copied(folder: Path) -> Config:
        shutil.copytree(original, folder, symlinks=True)
        return configure(settings, folder)

    return copied


def notes(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return re.findall(r"note: [^\r\n]*", capsys.readouterr().err)


def assert_ends_like(folder: Path, finished: Path, *, same_records: bool = True) -> None:
    ours, theirs = weights(folder), weights(finished)
    assert set(ours) == set(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert (folder / "scores.log").read_bytes() == (finished / "scores.log").read_bytes()
    if same_records:
        assert records(folder) == records(finished)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (WEIGHTS, "flipped"),
        ("retriever/passage_tower/tokenizer.json", "gone"),
        ("optimizer.pt", "cut"),
        ("state.json", "flipped"),
        ("checksums.json", "flipped"),
    ],
)
def test_a_damaged_checkpoint_is_put_aside_and_the_one_before_goes_on_to_the_same_bits(
    name, damage, killed, finished, tmp_path, capsys
) -> None:
    config = killed(tmp_path / "run")
    spoil(tmp_path / "run" / "checkpoints" / "step-00000003" / name, damage)
    train(config)
    (note,) = notes(capsys)
    assert f"step-00000003/{name}: " in note and "from the checkpoint of step 2" in note
    assert_ends_like(tmp_path / "run", finished)
    assert not list((tmp_path / "run" / "checkpoints").glob("damaged-*"))  # two others by now


def test_until_a_new_checkpoint_is_written_the_damaged_one_is_kept_aside(
    killed, tmp_path, finished
) -> None:
    config = killed(tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    spoil(run.checkpoint_folder(3) / "optimizer.pt", "flipped")
    kill(config, 0)
    assert run.steps() == [2]
    assert (run.path / "last").resolve() == run.checkpoint_folder(2).resolve()
    assert (run.path / "checkpoints" / "damaged-step-00000003" / "optimizer.pt").exists()
    train(config)
    assert_ends_like(run.path, finished)


def test_two_damaged_checkpoints_are_one_clear_error_and_nothing_is_touched(
    killed, tmp_path
) -> None:
    config = killed(tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    spoil(run.checkpoint_folder(2) / "optimizer.pt", "flipped")
    spoil(run.checkpoint_folder(3) / WEIGHTS, "cut")
    for _ in range(2):
        with pytest.raises(CorruptionError, match="no checkpoint of this run is whole") as caught:
            train(config)
        assert "step-00000002/optimizer.pt" in str(caught.value)
        assert f"step-00000003/{WEIGHTS}" in str(caught.value)
        assert run.steps() == [2, 3]


def test_scores_that_are_gone_count_as_a_damaged_checkpoint(
    killed, finished, tmp_path, capsys
) -> None:
    config = killed(tmp_path / "run")
    log = tmp_path / "run" / "scores.log"
    state = load_state(RunFolder(tmp_path / "run"), 3)
    counted = read_log(log, fingerprint=state.fingerprints["teacher"], length=state.num_scores)
    log.write_bytes(log.read_bytes()[: counted.num_bytes - 2 * RECORD.itemsize])
    train(config)
    (note,) = notes(capsys)
    assert "scores.log: " in note and "from the checkpoint of step 2" in note
    assert_ends_like(tmp_path / "run", finished)


@pytest.mark.parametrize(
    ("name", "damage"),
    [("shard-00001.bin", "flipped"), ("shard-00000.bin", "gone"), ("manifest.json", "cut")],
)
def test_a_damaged_index_is_embedded_again_from_the_weights_that_built_it(
    name, damage, killed, finished, tmp_path, capsys
) -> None:
    config = killed(tmp_path / "run")
    path = tmp_path / "run" / "index" / "step-00000002" / name
    contents = spoil(path, damage)
    kill(config, 0)  # after the set-up
    (note,) = notes(capsys)
    assert name in note and "embedding it again from the weights of step 2" in note
    assert path.read_bytes() == contents
    if damage == "flipped":
        train(config)
        assert_ends_like(tmp_path / "run", finished)


def test_an_index_about_to_be_refreshed_is_needed_no_more(
    settings, finished, tmp_path, capsys
) -> None:
    config = configure(settings, tmp_path)
    kill(config, 2, owner=loop.Trainer, name="refresh")  # those of steps 0 and 2
    shutil.rmtree(tmp_path / "index" / "step-00000002")
    capsys.readouterr()
    train(config)
    assert not notes(capsys)
    assert_ends_like(tmp_path, finished)  # the share of passages that changed included
    changed = [record.get("top_k_changed") for record in records(tmp_path)]
    assert sum(one is not None for one in changed) == 3


SPARSE = {"refresh_steps": 4, "evaluate_steps": 4, "save_steps": 1, "max_steps": 5}


def test_the_weights_that_built_an_index_are_kept_as_long_as_it_is_used(
    settings, tmp_path, capsys
) -> None:
    train(configure(settings, tmp_path / "whole", training=SPARSE))
    config = configure(settings, tmp_path / "run", training=SPARSE)
    kill(config, 3)
    run = RunFolder(tmp_path / "run")
    assert run.steps() == [0, 2, 3]
    spoil(run.index_folder("step-00000000") / "shard-00002.bin", "flipped")
    spoil(run.checkpoint_folder(3) / "state.json", "cut")  # both at once
    capsys.readouterr()
    train(config)
    first, second = notes(capsys)
    assert "from the checkpoint of step 2" in first
    assert "embedding it again from the weights of step 0" in second
    assert_ends_like(run.path, tmp_path / "whole")
    assert run.steps() == [4, 5]


def test_an_index_and_its_builder_both_damaged_are_one_clear_error(killed, tmp_path) -> None:
    config = killed(tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    spoil(run.index_folder("step-00000002") / "shard-00000.bin", "cut")
    spoil(run.checkpoint_folder(2) / WEIGHTS, "flipped")
    with pytest.raises(CorruptionError, match="and so are the weights that built it") as caught:
        train(config)
    assert "shard-00000.bin" in str(caught.value) and WEIGHTS in str(caught.value)


def test_a_frozen_passage_tower_mends_its_index_by_itself(settings, tmp_path, capsys) -> None:
    frozen = {"retriever": {"freeze": "passage"}, "training": {"max_steps": 4}}
    train(configure(settings, tmp_path / "whole", **frozen))
    config = configure(settings, tmp_path / "run", **frozen)
    kill(config, 3)
    assert RunFolder(tmp_path / "run").steps() == [2, 3]
    spoil(tmp_path / "run" / "index" / "step-00000000" / "shard-00000.bin", "flipped")
    capsys.readouterr()
    train(config)
    (note,) = notes(capsys)
    assert "embedding it again" in note
    assert_ends_like(tmp_path / "run", tmp_path / "whole")


def test_damaged_caches_are_built_again_in_the_middle_of_a_run(
    settings, finished, tmp_path, capsys
) -> None:
    cache = tmp_path / "cache"
    own = {"cache_folder": str(cache)}
    train(configure(settings, tmp_path / "first", data=own, training={"max_steps": 1}))
    damaged = [*cache.glob("stores/*/text.bin"), *cache.glob("tokens/*/ids.bin")]
    for path in damaged:
        spoil(path, "flipped")
    assert len(damaged) == 3
    config = configure(settings, tmp_path / "run", data=own)
    capsys.readouterr()
    train(config)
    said = notes(capsys)
    assert len(said) == 3 and all("building it again" in note for note in said)
    assert all(any(str(path) in note for note in said) for path in damaged)
    assert_ends_like(tmp_path / "run", finished)


@pytest.mark.parametrize("name", ["rows.bin", "keys.bin", "questions.jsonl"])
def test_a_damaged_cache_of_labelled_questions_is_built_again_in_the_middle_of_a_run(
    name, settings, tmp_path, capsys
) -> None:
    def labelled(folder: Path, cache: Path) -> Config:
        return configure(
            settings,
            folder,
            data={"questions": [], "passages": None, "cache_folder": str(cache)},
            training={"method": "dpr", "max_steps": 2},
            evaluation={"questions": []},
        )

    train(labelled(tmp_path / "whole", tmp_path / "cache"))
    (path,) = tmp_path.glob(f"cache/supervised/*/{name}")
    contents = spoil(path, "flipped")
    capsys.readouterr()
    train(labelled(tmp_path / "run", tmp_path / "cache"))
    (said,) = [note for note in notes(capsys) if "building it again" in note]
    assert str(path) in said and path.read_bytes() == contents
    ours, theirs = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert all((ours[one] == theirs[one]).all() for one in ours | theirs)


def test_damaged_best_weights_are_not_published(settings, tmp_path, monkeypatch) -> None:
    config = configure(settings, tmp_path, training={"max_steps": 1})
    publish = loop.checkpoints.publish

    def late(run: RunFolder, step: int) -> None:
        spoil(run.best_folder(step) / "passage_tower" / "model.safetensors", "flipped")
        publish(run, step)

    monkeypatch.setattr(loop.checkpoints, "publish", late)
    with pytest.raises(CorruptionError, match=r"best-\d+/passage_tower/model\.safetensors"):
        train(config)
    assert not (tmp_path / "retriever").exists() and not (tmp_path / "result.json").exists()


def test_the_published_folder_is_the_users_to_change(finished, tmp_path) -> None:
    shutil.copytree(finished / "retriever", tmp_path / "mine")
    assert not (tmp_path / "mine" / "checksums.json").exists()
    manifest = tmp_path / "mine" / "retriever.json"
    changed = manifest.read_text().replace('"passage_length": 64', '"passage_length": 32')
    manifest.write_text(changed)
    assert load_retriever(tmp_path / "mine").settings.passage_length == 32
    assert len(Index.open(finished / "index" / f"step-{NUM_STEPS:08d}")) == 60
