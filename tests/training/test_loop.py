"""Whole runs on tiny models: what they leave behind, and that a killed one ends the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import finish
from killed_run import kill
from safetensors.numpy import load_file
from whole_run import NUM_STEPS, configure, records, weights

from art.config import Config
from art.errors import ArtError, ConfigFaults, MismatchError
from art.files import lock
from art.retriever import building
from art.retriever.index import Index
from art.retriever.loading import load_retriever
from art.training import loop, trainer
from art.training.checkpoints import load_state
from art.training.loop import train
from art.training.run_folder import RunFolder
from art.training.settings import read_stages
from art.training.stages import train_stages


def test_a_run_leaves_a_retriever_figures_and_two_checkpoints(finished, settings) -> None:
    retriever = load_retriever(finished / "retriever")
    assert retriever.settings.passage_length == 64
    steps = [record["step"] for record in records(finished) if record["kind"] == "evaluation"]
    assert steps == [0, 4, NUM_STEPS]
    trained = [record for record in records(finished) if record["kind"] == "train"]
    assert [record["step"] for record in trained] == list(range(1, NUM_STEPS + 1))
    expected = {"loss", "soft_label_entropy", "agreement", "retriever_spread", "teacher_spread"}
    assert expected <= set(trained[0])
    assert trained[0]["known_share"] < trained[-1]["known_share"]
    assert RunFolder(finished).steps() == [6, NUM_STEPS]
    assert (finished / "best").is_symlink()
    last = Index.open(finished / "index" / f"step-{NUM_STEPS:08d}")
    assert len(last) == 60


def test_training_moves_both_towers(finished, settings, tiny_bert) -> None:
    before = load_file(tiny_bert / "model.safetensors")
    after = load_file(finished / "last" / "retriever" / "question_tower" / "model.safetensors")
    passage = load_file(finished / "last" / "retriever" / "passage_tower" / "model.safetensors")
    name = "encoder.layer.0.attention.self.value.weight"
    assert not np.array_equal(before[name], after[name])
    assert not np.array_equal(passage[name], after[name])


@pytest.mark.parametrize(
    ("where", "moment"),
    [("take_step", 1), ("take_step", 4), ("refresh", 2), ("evaluate", 1), ("publish", 0)],
)
def test_a_killed_run_ends_with_the_bits_of_an_uninterrupted_one(
    where, moment, finished, settings, tmp_path
) -> None:
    owner = {"take_step": loop, "publish": loop.checkpoints}.get(where, trainer.Trainer)
    config = configure(settings, tmp_path / "run")
    kill(config, moment, owner=owner, name=where)
    train(config)
    assert records(tmp_path / "run") == records(finished)
    ours, theirs = weights(tmp_path / "run"), weights(finished)
    assert set(ours) == set(theirs)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_a_run_refused_for_its_recall_goes_on_with_more_lists_and_finds_what_exact_search_does(
    finished, settings, tmp_path, monkeypatch, capsys
) -> None:
    def of_kind(**changes: Any) -> Config:
        index = {**settings["index"], "kind": "IVF1,Flat", **changes}
        return configure(settings, tmp_path / "run", index=index)

    measured, found = building._recall, []

    def low(*arguments: Any) -> float:
        found.append(measured(*arguments))
        return found[-1] if len(found) != 2 else 0.5

    monkeypatch.setattr(building, "_recall", low)
    with pytest.raises(ArtError, match=r"recall@4 0\.500 .* on 30 questions; .*index\.min_recall"):
        train(of_kind())
    assert not (tmp_path / "run" / "index" / "step-00000002" / "manifest.json").exists()
    train(of_kind(nprobe=1))
    assert found == [1.0] * len(found) and len(found) > 3
    refreshed = [one for one in records(tmp_path / "run") if one["kind"] == "refresh"]
    assert {one.pop("recall") for one in refreshed} == {1.0}
    assert refreshed == [one for one in records(finished) if one["kind"] == "refresh"]
    ours, theirs = weights(tmp_path / "run"), weights(finished)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert "index refreshed" in (said := capsys.readouterr().err) and "IVF1,Flat, nprobe 1" in said


def test_a_finished_run_says_its_result_again_without_training(
    finished, settings, monkeypatch
) -> None:
    monkeypatch.setattr(loop, "set_up", lambda *_: pytest.fail("it trained again"))
    result = train(configure(settings, finished))
    assert result.last_step == NUM_STEPS
    assert result.metric == "top_20"
    assert set(result.before) == set(result.after) == {"top_1", "top_5", "top_20"}


def test_other_settings_on_the_same_folder_are_refused_with_a_diff(finished, settings) -> None:
    config = configure(settings, finished, training={"top_k": 5})
    with pytest.raises(MismatchError, match=r"training\.top_k: 4 → 5"):
        train(config)


def test_a_second_run_in_the_same_folder_is_refused(settings, tmp_path) -> None:
    with (
        lock(tmp_path / ".lock", wait=False),
        pytest.raises(ArtError, match="in use by another run"),
    ):
        train(configure(settings, tmp_path))


VARIANTS = {
    "both candidates, no labels": {
        "evaluation": {"questions": []},
        "training": {
            "candidates": "both",
            "candidate_depth": 6,
            "over_retrieve": 3,
            "questions_per_step": 4,
            "max_steps": 5,
        },
    },
    "frozen passage tower": {"retriever": {"freeze": "passage"}, "training": {"max_steps": 5}},
    "tied towers": {"retriever": {"tied": True}, "training": {"max_steps": 5}},
    "labelled questions alone": {
        "data": {"passages": None},
        "evaluation": {"questions": []},
        "training": {"method": "dpr", "max_steps": 5},
    },
    "labelled questions, evaluated on the corpus": {
        "training": {"method": "dpr", "positive": "random", "max_steps": 5},
    },
    "warm-up": {
        "evaluation": {"questions": []},
        "training": {"method": "warmup", "max_steps": 5, "chunk_tokens": 200},
    },
    "upper layers alone, in bfloat16": {
        "retriever": {"train_layers": 1, "dtype": "bfloat16"},
        "training": {"max_steps": 5, "chunk_tokens": 200},
    },
    "questions alone and labelled ones": {
        "training": {"labelled_share": 0.4, "max_steps": 6, "refresh_when_changed": 0.9}
    },
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=list(VARIANTS))
def test_every_kind_of_run_resumes_to_the_same_bits(variant, settings, tmp_path) -> None:
    whole = configure(settings, tmp_path / "whole", **variant)
    train(whole)
    cut = interrupted(settings, tmp_path / "cut", **variant)
    train(cut)
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    ours, theirs = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_generated_questions_beside_real_ones_are_told_apart_and_resume_to_the_same_bits(
    settings, tmp_path
) -> None:
    file = tmp_path / "generated.jsonl"
    file.write_text("\n".join(json.dumps({"question": f"who built {i} ?"}) for i in range(20)))
    variant = {
        "data": {"generated": str(file)},
        "training": {"generated_share": 0.5, "max_steps": 5},
    }
    train(configure(settings, tmp_path / "whole", **variant))
    train(interrupted(settings, tmp_path / "cut", **variant))
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    ours, theirs = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    found = records(tmp_path / "whole")
    assert (found[0]["num_questions"], found[0]["num_generated"]) == (60, 30)
    trained = [record for record in found if record["kind"] == "train"]
    assert [record["generated_share"] for record in trained] == [0.5] * 5
    for name in ("loss", "soft_label_entropy"):
        apart = [(record[f"generated_{name}"], record[f"real_{name}"]) for record in trained]
        assert [sum(pair) / 2 for pair in apart] == pytest.approx([one[name] for one in trained])
        assert all(first != second for first, second in apart)


def test_a_frozen_passage_tower_keeps_its_weights_and_its_index(settings, tmp_path, tiny_bert):
    variant = VARIANTS["frozen passage tower"]
    train(configure(settings, tmp_path, **variant))
    kept = load_file(tmp_path / "last" / "retriever" / "passage_tower" / "model.safetensors")
    start = load_file(tiny_bert / "model.safetensors")
    assert all(np.array_equal(kept[name], start[name]) for name in kept)
    assert [folder.name for folder in (tmp_path / "index").glob("step-*")] == ["step-00000000"]


def test_lower_layers_that_do_not_learn_keep_their_bits_and_take_no_moments(
    settings, tmp_path, tiny_bert
) -> None:
    training = {"max_steps": 2, "chunk_tokens": 200}
    train(configure(settings, tmp_path, retriever={"train_layers": 1}, training=training))
    start = load_file(tiny_bert / "model.safetensors")
    for name in ("question_tower", "passage_tower"):
        after = load_file(tmp_path / "last" / "retriever" / name / "model.safetensors")
        moved = {key for key in after if not np.array_equal(after[key], start[key])}
        assert moved and all(".layer.1." in key for key in moved)
    moments = torch.load(tmp_path / "last" / "optimizer.pt", weights_only=True)["state"]
    num_learning = sum(".layer.1." in key for key in start)
    assert len(moments) == 2 * num_learning


def interrupted(settings, folder: Path, **sections: Any) -> Config:
    """Leave a run in `folder` that was killed in its fourth step."""
    config = configure(settings, folder, **sections)
    kill(config, 3)
    return config


@pytest.mark.parametrize("what", ["passages", "questions"])
def test_a_run_whose_data_changed_under_it_is_refused(what, settings, tmp_path) -> None:
    original = Path(settings["data"][what])
    copy = tmp_path / original.name
    copy.write_text(original.read_text())
    config = interrupted(settings, tmp_path / "run", data={what: str(copy)})
    copy.write_text("\n".join(reversed(original.read_text().splitlines())))
    with pytest.raises(MismatchError, match=f"{what} ") as caught:
        train(config)
    assert "→" in str(caught.value)


def test_a_first_attempt_that_failed_does_not_lock_the_folder(settings, tmp_path) -> None:
    with pytest.raises(ConfigFaults):
        train(configure(settings, tmp_path, training={"top_k": 61}))
    train(configure(settings, tmp_path, training={"max_steps": 1}))


def test_a_template_that_prints_the_date_still_resumes(
    settings, tiny_llama, tmp_path, monkeypatch
) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(tiny_llama, teacher)
    template = teacher / "chat_template.jinja"
    template.write_text("{{ messages[0]['content'] }} 2026-01-01 ")
    sections = {"teacher": {"model": str(teacher), "chat_template": True}}
    # The date is the model's own code's to insert; a changed file stands for the changed day.
    config = interrupted(settings, tmp_path / "run", **sections)
    prompt = load_state(RunFolder(tmp_path / "run"), 3).teacher_prompt
    assert "2026-01-01" in prompt
    monkeypatch.setattr(
        "art.data.prompts._causal_prompt",
        lambda tokenizer, passage_prompt, prefix, chat: (
            pytest.fail("rendered again") if chat else passage_prompt
        ),
    )
    assert train(config).last_step == NUM_STEPS


def test_a_disk_that_refuses_a_checkpoint_leaves_the_one_before(
    settings, tmp_path, monkeypatch
) -> None:
    config = interrupted(settings, tmp_path)
    before = RunFolder(tmp_path).steps()

    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr("torch.save", refuse)
    with pytest.raises(ArtError, match="cannot write the weights"):
        train(config)
    assert RunFolder(tmp_path).steps() == before
    monkeypatch.undo()
    assert train(config).last_step == NUM_STEPS


def test_two_processes_train_what_one_trains(settings, finished, tmp_path) -> None:
    config = configure(settings, tmp_path / "run")
    (tmp_path / "c.yaml").write_text(config.to_yaml())
    statuses = finish(["train", "--config", tmp_path / "c.yaml"], tmp_path, world_size=2)
    assert [status for status, _ in statuses] == [0, 0], statuses
    assert ["after training" in said for _, said in statuses] == [True, False]
    ours, theirs = weights(tmp_path / "run"), weights(finished)
    assert set(ours) == set(theirs)
    found = "evaluations/step-00000000.jsonl"
    assert (tmp_path / "run" / found).read_bytes() == (finished / found).read_bytes()
    for name in ours:  # float32, and Adam divides by small numbers: not the bits, but the training
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-4, err_msg=name)
    for mine, other in zip(records(tmp_path / "run"), records(finished), strict=True):
        assert mine["kind"] == other["kind"]
        if mine["kind"] == "train":
            assert mine["loss"] == pytest.approx(other["loss"], rel=1e-3)


def test_two_processes_train_by_labels_what_one_trains(settings, tmp_path) -> None:
    variant = VARIANTS["labelled questions alone"]
    train(configure(settings, tmp_path / "one", **variant))
    (tmp_path / "c.yaml").write_text(configure(settings, tmp_path / "two", **variant).to_yaml())
    statuses = finish(["train", "--config", tmp_path / "c.yaml"], tmp_path, world_size=2)
    assert [status for status, _ in statuses] == [0, 0], statuses
    ours, theirs = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert set(ours) == set(theirs)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=2e-4, err_msg=name)
    for mine, other in zip(records(tmp_path / "two"), records(tmp_path / "one"), strict=True):
        assert mine.keys() == other.keys()
        for name in mine.keys() - {"kind"}:
            assert mine[name] == pytest.approx(other[name], rel=1e-3), name


def test_one_process_that_fails_ends_all_with_one_message(settings, tmp_path) -> None:
    config = configure(settings, tmp_path / "run", data={"passages": str(tmp_path / "none.tsv")})
    (tmp_path / "c.yaml").write_text(config.to_yaml())
    statuses = finish(["train", "--config", tmp_path / "c.yaml"], tmp_path, world_size=2)
    assert [status for status, _ in statuses] == [1, 1]
    assert sum("error: " in said for _, said in statuses) == 1
    assert not any("Traceback" in said for _, said in statuses)


def test_patience_stops_a_run_that_does_not_get_better(settings, tmp_path) -> None:
    config = configure(
        settings,
        tmp_path,
        evaluation={"patience": 1},
        training={"learning_rate": 1e-12, "evaluate_steps": 2, "candidates": "bm25"},
    )
    assert train(config).last_step == 2


def test_settings_that_do_not_fit_the_data_are_refused_before_any_model_loads(
    settings, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("art.training.students.create_retriever", lambda **_: pytest.fail("loaded"))
    config = configure(settings, tmp_path, training={"top_k": 61})
    with pytest.raises(ConfigFaults, match="only 60 passages"):
        train(config)


def test_stages_chain_runs_and_a_second_call_keeps_what_is_finished(settings, tmp_path) -> None:
    training = {**settings["training"], "max_steps": 1}
    document = {**settings, "training": training, "output": {"folder": str(tmp_path / "run")}}
    document["stages"] = [{"name": "one"}, {"name": "two", "training": {"learning_rate": 0.01}}]
    (tmp_path / "c.yaml").write_text(json.dumps(document))  # JSON is YAML
    told: list[tuple[str | None, bool]] = []

    def run() -> list[float]:
        results = []
        stages = read_stages(tmp_path / "c.yaml")
        train_stages(
            stages,
            begin=lambda stage: None,
            end=lambda stage, result, before: (
                told.append((stage.name, before)),
                results.append(result.before["top_20"]),
            ),
        )
        return results

    first = run()
    assert run() == first
    assert told == [("one", False), ("two", False), ("one", True), ("two", True)]
    # The second starts from what the first keeps, and the folder's retriever is the last one's.
    one, two = tmp_path / "run" / "1-one", tmp_path / "run" / "2-two"
    assert first[1] == json.loads((one / "result.json").read_text())["after"]["top_20"]
    assert (tmp_path / "run" / "retriever").resolve() == (two / "retriever").resolve()


def test_processes_meet_before_one_of_them_announces_a_stage(
    settings, tmp_path, monkeypatch
) -> None:
    document = {**settings, "output": {"folder": str(tmp_path / "run")}}
    (tmp_path / "c.yaml").write_text(json.dumps(document))
    order = []
    monkeypatch.setattr("art.distributed.start", lambda *, cpu: order.append("met"))
    monkeypatch.setattr("art.training.stages.train", lambda *_, **__: order.append("trained"))
    train_stages(
        read_stages(tmp_path / "c.yaml"),
        begin=lambda stage: order.append("announced"),
        end=lambda *_: order.append("told"),
    )
    assert order == ["met", "announced", "trained", "told"]
