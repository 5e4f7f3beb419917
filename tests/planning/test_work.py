"""The plan against a real tiny run, and what its hours follow from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from art.config import Config
from art.planning.costs import (
    checkpoint_bytes,
    rankings_bytes,
    score_log_bytes,
    search_flops,
)
from art.planning.rates import REFERENCE, fit_search, reference_rates
from art.planning.work import (
    Rates,
    UnitFlops,
    Work,
    count_work,
    flops_by_phase,
    seconds_by_phase,
)
from art.training.agreement import NUM_SCORED
from art.training.plan import schedule_of
from art.training.selection import num_held_out_questions
from art.training.settings import check_config

UNIT = UnitFlops(
    question=2e9, passage=2e10, pair=5e11, pair_again=5e10, micro_batch=1e13, embedding_size=768
)


def work(**changes) -> Work:
    values = {
        "num_steps": 100,
        "questions_per_step": 64,
        "micro_batches_per_step": 8,
        "num_passages": 1000,
        "shard_rows": 100,
        "dense_candidates": True,
        "num_refreshes": 3,
        "num_evaluations": 2,
        "questions_per_evaluation": 40,
        "pairs_per_evaluation": 40,
        "pairs_to_agree": 0,
        "pairs_least": 6400,
        "pairs_most": 12800,
        "passages_least": 1600,
    }
    return Work(**(values | changes))


@pytest.fixture(scope="module")
def run(tiny_bert, tiny_t5, corpus, tmp_path_factory) -> tuple[Config, Path]:
    from art.training.loop import train

    folder = tmp_path_factory.mktemp("planned")
    rows = [{"id": name, "title": title, "text": text} for name, title, text in corpus]
    (folder / "passages.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = [text.split() for _, _, text in corpus]
    asked = [f"what is {' '.join(text[3:7])} of {i} ?" for i, text in enumerate(words[:30])]
    (folder / "questions.txt").write_text("\n".join(asked))
    document = {
        "data": {
            "passages": str(folder / "passages.jsonl"),
            "questions": str(folder / "questions.txt"),
        },
        "retriever": {"model": str(tiny_bert), "passage_length": 64},
        "teacher": {"model": str(tiny_t5), "dtype": "float32"},
        "training": {
            "questions_per_step": 4,
            "questions_per_micro_batch": 2,
            "top_k": 3,
            "epochs": 2,
            "learning_rate": 0.003,
            "refresh_steps": 2,
            "evaluate_steps": 4,
            "cpu": True,
        },
        "output": {"folder": str(folder / "run")},
    }
    config = check_config(document, source="test")
    train(config)
    return config, folder / "run"


def test_counted_work_is_what_a_run_does(run) -> None:
    config, folder = run
    num_evaluated = num_held_out_questions(30)
    planned = count_work(
        config,
        schedule_of(config, 30 - num_evaluated),
        num_passages=60,
        num_evaluated=num_evaluated,
        judged_by_teacher=True,
    )
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    kinds = [line["kind"] for line in lines]
    assert planned.num_steps == kinds.count("train")
    assert planned.num_refreshes == kinds.count("refresh")
    assert planned.num_evaluations == kinds.count("evaluation")
    (asked,) = {line["num_questions"] for line in lines if line["kind"] == "evaluation"}
    assert planned.questions_per_evaluation == asked * 2 - 1  # half of them choose
    assert planned.pairs_to_agree == num_evaluated * NUM_SCORED
    scored = sum(1 - line["known_share"] for line in lines if line["kind"] == "train") * 4 * 3
    assert planned.pairs_least <= round(scored) <= planned.pairs_most


def test_the_files_of_a_run_are_no_larger_than_planned(run) -> None:
    _, folder = run
    assert len(list((folder / "index").glob("step-*"))) <= 2
    rankings = list((folder / "evaluations").iterdir())
    assert 1 <= len(rankings) <= 4
    for path in rankings:
        assert path.stat().st_size <= rankings_bytes(len(path.read_text().splitlines()))
    from art.retriever.loading import load_retriever
    from art.training.checkpoints import load_state
    from art.training.run_folder import RunFolder

    state = load_state(RunFolder(folder), RunFolder(folder).steps()[-1])
    seals = (folder / "scores.log").stat().st_size - score_log_bytes(state.num_scores)
    assert seals in range(12, 12 * (state.step + 1) + 1, 12)

    parameters = list(load_retriever(folder / "last" / "retriever").parameters())
    total = sum(one.numel() for one in parameters)
    learning = sum(one.numel() for one in parameters if one.requires_grad)
    files = [
        *(folder / "last" / "retriever").glob("*/model.safetensors"),
        folder / "last" / "optimizer.pt",
    ]
    on_disk = sum(path.stat().st_size for path in files)
    # Besides the numbers, their names.
    assert checkpoint_bytes(total, learning) <= on_disk <= checkpoint_bytes(total, learning) + 1e5


def test_counted_work_of_a_supervised_run_is_what_it_does(run, tiny_bert, tmp_path) -> None:
    from tiny_run import write_labelled

    from art.planning.forecast import forecast
    from art.planning.inventory import WhatIf, find
    from art.training.loop import train

    config, _ = run
    passages = [json.loads(line) for line in Path(config.data.passages).read_text().splitlines()]
    rows = [(one["id"], one["title"], one["text"]) for one in passages]
    write_labelled(tmp_path / "labelled.jsonl", rows)
    document = {
        "data": {"supervised": str(tmp_path / "labelled.jsonl")},
        "retriever": {"model": str(tiny_bert), "passage_length": 64},
        "training": {
            "method": "dpr",
            "questions_per_step": 4,
            "questions_per_micro_batch": 2,
            "epochs": 2,
            "evaluate_steps": 4,
            "cpu": True,
        },
        "output": {"folder": str(tmp_path / "run")},
    }
    supervised = check_config(document, source="test")
    planned = forecast(supervised)
    train(supervised)
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    kinds = [json.loads(line)["kind"] for line in text.splitlines()]
    work = planned.work
    assert work.num_steps == work.num_contrastive_steps == kinds.count("train")
    assert work.num_refreshes == kinds.count("refresh") == 0
    assert work.num_evaluations == kinds.count("evaluation")
    assert (work.pooled_questions, work.pairs_most, work.num_passages) == (16, 0, 0)
    assert planned.seconds is not None
    assert {name for name, (_, most) in planned.seconds.items() if most} == {"learn", "evaluate"}
    assert not any("teacher" in name for name in planned.memory.needed)
    assert find(supervised, WhatIf()).num_questions == 24


def test_contrastive_steps_cost_their_own_micro_batches_and_nothing_is_searched() -> None:
    unit = replace(UNIT, contrastive=3e12)
    flops = flops_by_phase(work(num_contrastive_steps=40, pairs_least=0, pairs_most=0), unit)
    assert flops["learn"] == 8 * (60 * 1e13 + 40 * 3e12)
    assert flops["retrieve"] == 60 * (64 * 2e9 + search_flops(64, 1000, 768))
    alone = work(num_contrastive_steps=100, num_refreshes=0, questions_per_evaluation=0)
    seconds = seconds_by_phase(alone, Rates(1, 1, 1, 1, 1, 1, 1, 1, 1, contrastive=2))
    assert seconds["learn"][0] == 100 * (8 * 2 + 1)
    assert seconds["retrieve"] == seconds["refresh"] == (0, 0)


def test_operations_are_pieces_times_what_each_takes() -> None:
    flops = flops_by_phase(work(), UNIT)
    search = search_flops(64, 1000, 768)
    assert flops["retrieve"] == 100 * (64 * 2e9 + search)
    assert flops["score"] == 12800 * 5e11
    assert flops["learn"] == 100 * 8 * 1e13
    assert flops["refresh"] == 3 * 1000 * 2e10
    evaluations = 2 * (40 * 2e9 + search_flops(40, 1000, 768) + 40 * 5e11)
    assert flops["evaluate"] == evaluations
    agreeing = flops_by_phase(work(pairs_to_agree=640), UNIT)
    assert agreeing["evaluate"] == evaluations + 640 * 5e11


def test_processes_share_everything_in_whole_shards() -> None:
    rates = Rates(1, 1, 1, 0.25, 1, 0, search_question=0, search_row=1, search_row_question=0)
    one, four = (seconds_by_phase(work(), rates, world_size=size) for size in (1, 4))
    # At least the 1,600 passages are read, and 4,800 more pairs use what was read of them.
    assert one["score"] == (1600 + 4800 / 4, 12800)
    assert four["score"] == (one["score"][0] / 4, 3200)
    assert four["learn"][0] == one["learn"][0] / 4
    assert one["retrieve"][0] == 100 * (64 + 1000)
    # Ten shards on four processes: the busiest embeds and searches three of them.
    assert four["retrieve"][0] == 100 * (16 + 300)
    # Three refreshes, behind two of which the old index and the new one are searched.
    assert one["refresh"][0] - four["refresh"][0] == (3 + 2 * 2) * (1000 - 300)


def test_candidates_from_bm25_alone_search_no_index() -> None:
    rates = Rates(1, 1, 1, 1, 1, 1, 1, 1, 1)
    assert seconds_by_phase(work(dense_candidates=False), rates)["retrieve"] == (0, 0)
    assert flops_by_phase(work(dense_candidates=False), UNIT)["retrieve"] == 0


def test_searches_of_other_sizes_follow_from_three() -> None:
    def seconds(questions: int, rows: int) -> float:
        return questions * 0.01 + rows * (2e-6 + questions * 3e-8)

    f, a, b = fit_search(
        seconds(8, 500), seconds(8, 2000), seconds(32, 2000), num_rows=2000, less=500,
        num_questions=8,
    )  # fmt: skip
    assert (f, a, b) == pytest.approx((0.01, 2e-6, 3e-8))
    rates = Rates(0, 0, 0, 0, 0, 0, f, a, b)
    assert rates.search(100, 10**6) == pytest.approx(seconds(100, 10**6))


@pytest.mark.parametrize(
    ("small", "large", "many"), [(2, 1, 1), (1, 2, 0.5), (1, 9, 90), (3, 3, 3)]
)
def test_noise_in_measured_searches_gives_no_negative_rates(small, large, many) -> None:
    found = fit_search(small, large, many, num_rows=100, less=25, num_questions=4)
    assert min(found) >= 0


def test_reference_rates_are_operations_over_what_is_sustained() -> None:
    rates = reference_rates(
        REFERENCE,
        UNIT,
        retriever_dtype="float32",
        teacher_dtype="bfloat16",
        index_dtype="float16",
        resident=False,
    )
    assert rates.pair == 5e11 / REFERENCE.flops["bfloat16"]
    assert rates.passage == 2e10 / REFERENCE.flops["float32"]
    assert rates.search_row == 4 * 768 / REFERENCE.uploaded_bytes["float16"]
