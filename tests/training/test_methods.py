"""The supervised method, the warm-up, and both beside or after the other: what each run needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import tiny_run

from art.config import Config
from art.errors import ConfigFaults, MismatchError, RowError
from art.training import models, sources
from art.training.loop import train
from art.training.selection import TrainingSplit
from art.training.settings import check_config

Edit = dict[str, dict[str, Any] | None]
DPR: Edit = {"training": {"method": "dpr"}, "data": {"passages": None, "questions": []}}
WARMUP: Edit = {"training": {"method": "warmup"}, "data": {"questions": [], "supervised": []}}


@pytest.fixture
def configure(tiny_bert, tiny_t5, corpus, tmp_path):
    """Settings of a run without a teacher, unless an edit brings one."""

    def of(name: str, edit: Edit, **training: Any) -> Config:
        whole = tiny_run(tmp_path / name, tiny_bert, tiny_t5, corpus, labelled=False, **training)
        document = whole.model_dump(mode="json")
        document["teacher"] = None
        for section, values in edit.items():
            document[section] = {**(document[section] or {}), **(values or {})}
        return check_config(document, source="test")

    return of


@pytest.fixture
def teacher(tiny_t5) -> dict[str, Any]:
    return {"model": str(tiny_t5), "dtype": "float32", "temperature": 0.05}


def lines(config: Config, kind: str) -> list[dict[str, Any]]:
    text = (Path(config.output.folder) / "metrics.jsonl").read_text()
    return [one for one in map(json.loads, text.splitlines()) if one["kind"] == kind]


@pytest.mark.parametrize("edit", [DPR, WARMUP], ids=["dpr", "warmup"])
def test_each_method_learns_what_it_is_taught_without_index_or_teacher(
    edit, configure, monkeypatch
) -> None:
    monkeypatch.setattr(models, "load_teacher", lambda **_: pytest.fail("a teacher was loaded"))
    # Means of shared word vectors: a tiny encoder without training can learn from those.
    easy = {"retriever": {"pooling": "mean", "normalize": True, "tied": True, "dropout": 0.0}}
    config = configure(
        "run", edit | easy, questions_per_step=16, questions_per_micro_batch=8, max_steps=24,
        epochs=30, evaluate_steps=8, learning_rate=0.001,
    )  # fmt: skip
    result = train(config)
    losses = [line["loss"] for line in lines(config, "train")]
    assert len(losses) == 24
    assert np.mean(losses[-4:]) < 0.9 * np.mean(losses[:4])
    assert result.metric == "pooled_mrr"
    assert result.after["pooled_mrr"] > result.before["pooled_mrr"]
    assert set(result.after) == {"pooled_mrr", "pooled_top_1", "pooled_average_rank"}
    assert result.num_questions == 16
    assert not lines(config, "refresh")
    assert not (Path(config.output.folder) / "index").exists()


def test_labelled_questions_of_the_corpus_choose_and_the_index_is_refreshed_for_them_alone(
    configure, corpus, tmp_path
) -> None:
    dev = tmp_path / "dev.jsonl"
    asked = [{"question": f"who {i}", "positive_passage_ids": [corpus[i][0]]} for i in range(9)]
    dev.write_text("\n".join(map(json.dumps, asked)))
    passages = str(tmp_path / "run data" / "passages.jsonl")
    edit = DPR | {"data": {"passages": passages}, "evaluation": {"questions": [str(dev)]}}
    config = configure("run", edit, refresh_steps=1, evaluate_steps=2, max_steps=4)
    result = train(config)
    assert result.metric == "top_20"
    assert [line["step"] for line in lines(config, "refresh")] == [0, 2, 4]
    assert all(line["top_k_changed"] is None for line in lines(config, "refresh"))


def test_a_pool_beside_labels_of_the_corpus_is_told_but_does_not_choose(
    configure, corpus, tmp_path
) -> None:
    dev = tmp_path / "dev.jsonl"
    dev.write_text(json.dumps({"question": "who", "positive_passage_ids": [corpus[0][0]]}))
    labelled = str(tmp_path / "run data" / "labelled.jsonl")
    edit = DPR | {
        "data": {"passages": str(tmp_path / "run data" / "passages.jsonl")},
        "evaluation": {"questions": [str(dev)], "supervised": [labelled]},
    }
    result = train(configure("run", edit, max_steps=1))
    assert result.metric == "top_20"
    assert {"top_20", "pooled_average_rank"} <= set(result.after)


def test_steps_on_labels_come_in_their_share_and_are_told_apart(configure, teacher) -> None:
    edit = {"teacher": teacher}
    config = configure("run", edit, labelled_share=0.5, max_steps=4, questions_per_step=4)
    train(config)
    found = lines(config, "train")
    assert ["labelled_loss" in line for line in found] == [False, True, False, True]
    assert ["soft_label_entropy" in line for line in found] == [True, False, True, False]
    assert all(("loss" in line) != ("labelled_loss" in line) for line in found)


def test_a_question_that_chooses_trains_in_neither_way(
    configure, teacher, corpus, monkeypatch
) -> None:
    config = configure("run", {"teacher": teacher}, labelled_share=0.5, max_steps=2)
    asked = Path(config.data.questions[0])
    labelled = Path(config.data.supervised[0]).read_text().splitlines()
    asked.write_text("\n".join(json.loads(line)["question"] for line in labelled))
    seen: list[TrainingSplit] = []
    original = sources.split_labelled

    def kept(*args: Any, **kwargs: Any) -> Any:
        seen.append(original(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(sources, "split_labelled", kept)
    train(config)
    assert len(seen[0].left_out) == 16
    assert not len(seen[0].held_out)


def test_places_count_only_those_that_train() -> None:
    left_out = np.array([0, 3, 4, 9])
    split = TrainingSplit(10, left_out, left_out)
    assert split.num_training == 6
    assert split.training(range(6)) == [1, 2, 5, 6, 7, 8]


def test_questions_without_labels_need_a_teacher_to_judge(configure, tmp_path) -> None:
    data = tmp_path / "run data"
    edit = DPR | {
        "data": {"passages": str(data / "passages.jsonl")},
        "evaluation": {"questions": [str(data / "questions.txt")]},
    }
    with pytest.raises(ConfigFaults, match=r"teacher: evaluation\.questions have no labels"):
        train(configure("run", edit, max_steps=1))


def test_labelled_questions_that_changed_under_a_run_are_noticed(configure, monkeypatch) -> None:
    config = configure("run", DPR, max_steps=4)
    result = Path(config.output.folder) / "result.json"
    train(config)
    result.unlink()
    path = Path(config.data.supervised[0])
    path.write_text("\n".join(reversed(path.read_text().splitlines())))
    with pytest.raises(MismatchError, match="labelled training questions"):
        train(config)


@pytest.mark.parametrize("method", ["art", "dpr"])
def test_too_few_questions_are_told_before_the_corpus_is_built(
    method, configure, teacher, tmp_path
) -> None:
    dev = tmp_path / "dev.jsonl"
    dev.write_text(json.dumps({"question": "who", "positive_passage_ids": ["p0"]}))
    edit: Edit = {
        "teacher": teacher if method == "art" else None,
        "training": {"method": method, "questions_per_step": 500},
        "data": {"cache_folder": str(tmp_path / "cache")},
        "evaluation": {"questions": [str(dev)]},
    }
    config = configure("run", edit)
    with pytest.raises(ConfigFaults, match=r"questions_per_step: 500, but there are only \d+"):
        train(config)
    assert not (tmp_path / "cache" / "stores").exists()


def test_examples_without_a_positive_and_questions_short_of_negatives_are_told(
    configure, capsys
) -> None:
    short = {"training": {"method": "dpr", "hard_negatives": 1000}}
    config = configure("run", DPR | short, max_steps=1)
    with open(config.data.supervised[0], "a") as file:
        file.write('\n{"question": "who knows ?", "positive_ctxs": []}\n{"question": 7}\n')
    with pytest.raises(RowError, match=r"labelled\.jsonl:\d+: no 'positive_ctxs'"):
        train(config)
    data = config.data.model_copy(update={"skip_bad_rows": True})
    train(config.model_copy(update={"data": data}))
    said = capsys.readouterr().err
    assert f"note: skipped 1 row: {config.data.supervised[0]}:" in said
    assert "note: 1 of " in said and "have no positive passage and are left out" in said
    assert "have fewer negatives than training.hard_negatives asks for (1000)" in said
