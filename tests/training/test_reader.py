"""The training of a reader: its loss, its steps, and what a run leaves."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forked import finish
from killed_run import kill
from made_answers import made_rows, reader_run
from safetensors.numpy import load_file
from transformers import DPRReader

from art.answering.reader import create_reader, load_reader
from art.answering.template import Reading
from art.data.tokens import pad
from art.errors import ArtError, ConfigError, ConfigFaults, DataError, RowError
from art.planning.forecast import forecast
from art.planning.format import plan
from art.planning.inventory import WhatIf
from art.training.loop import train
from art.training.losses import reader_loss
from art.training.methods.reader import reader_step
from art.training.progress import PhaseTimer
from art.training.readings import ReadingItem
from art.training.run_folder import RunFolder, finished_reader, finished_retriever
from art.training.schedule import MicroBatch
from art.training.settings import check_config, read_config


def plain_loss(start, end, relevance, spans) -> float:
    """Karpukhin et al., section 6.1, a probability at a time."""

    def probability(logits: list[float], place: int) -> float:
        return math.exp(logits[place]) / sum(map(math.exp, logits))

    found = sum(probability(start, i) * probability(end, j) for i, j in spans)
    return -math.log(found) - math.log(probability(relevance, 0))


@pytest.mark.parametrize("spans", [[(3, 4)], [(0, 0), (3, 4), (6, 6)], [(2, 5), (2, 2)]])
def test_the_loss_is_the_marginal_likelihood_of_all_occurrences_and_of_the_passage(spans) -> None:
    generator = torch.Generator().manual_seed(len(spans))
    start, end, relevance = (
        torch.randn(size, generator=generator, dtype=torch.float64) for size in (7, 7, 4)
    )
    loss = reader_loss(start, end, relevance, torch.tensor(spans))
    expected = plain_loss(start.tolist(), end.tolist(), relevance.tolist(), spans)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    halves = (one.to(torch.bfloat16) for one in (start, end, relevance))
    assert reader_loss(*halves, torch.tensor(spans)).dtype == torch.float32


def made_items() -> list[ReadingItem]:
    """Four questions with one to four passages of many lengths."""
    rng = np.random.default_rng(5)

    def reading(length: int) -> Reading:
        return Reading(rng.integers(5, 90, size=length).astype(np.int32), 4, is_cut=False)

    items = []
    for number in range(4):
        readings = [reading(int(length)) for length in rng.integers(9, 60, size=1 + number)]
        spans = np.array([[4, 5], [7, 7]][: 1 + number % 2], dtype=np.int64)
        items.append(ReadingItem(readings, spans))
    return items


ITEMS = made_items()
HALVES = [MicroBatch(0, (0, 1)), MicroBatch(1, (2, 3))]


def gradients(reader, micro_batches, chunk_tokens=None) -> tuple[float, dict[str, torch.Tensor]]:
    reader.zero_grad(set_to_none=True)
    statistics = reader_step(
        micro_batches, lambda places: [ITEMS[i] for i in places], model=reader, reader=reader,
        seed=1, step=3, timer=PhaseTimer(), chunk_tokens=chunk_tokens,
    )  # fmt: skip
    assert statistics.num_questions == 4
    named = {name: p.grad.clone() for name, p in reader.named_parameters() if p.grad is not None}
    return statistics.sums["loss"] / 4, named


@pytest.fixture
def reader(tiny_bert):
    return create_reader(str(tiny_bert), max_length=64, seed=1).double()


def assert_same(ours, theirs) -> None:
    assert ours[0] == pytest.approx(theirs[0], rel=1e-10)
    assert ours[1].keys() == theirs[1].keys() and len(ours[1]) > 20
    for name, grad in theirs[1].items():
        torch.testing.assert_close(ours[1][name], grad, rtol=1e-8, atol=1e-12, msg=name)


def test_a_step_is_the_gradient_of_the_mean_of_questions_read_one_at_a_time(reader) -> None:
    reader.eval()
    reader.zero_grad(set_to_none=True)
    losses = []
    for item in ITEMS:
        said = [reader(*pad([one.ids], pad_id=0)) for one in item.readings]
        relevance = torch.cat([one.relevance for one in said])
        spans = torch.from_numpy(item.spans)
        losses.append(reader_loss(said[0].start[0], said[0].end[0], relevance, spans))
    torch.stack(losses).mean().backward()
    named = {name: p.grad.clone() for name, p in reader.named_parameters()}
    expected = (torch.stack(losses).mean().item(), named)
    for micro_batches in (HALVES, [MicroBatch(0, (0, 1, 2, 3))]):
        assert_same(gradients(reader, micro_batches), expected)


def test_chunks_of_few_tokens_give_the_same_gradient_with_the_same_dropout(
    reader, monkeypatch
) -> None:
    reads: list[tuple[int, ...]] = []
    forward = reader.forward
    monkeypatch.setattr(
        reader, "forward", lambda ids, mask: (reads.append(tuple(ids.shape)), forward(ids, mask))[1]
    )
    reader.eval()
    whole = gradients(reader, HALVES)
    assert len(reads) == 2
    assert_same(gradients(reader, HALVES, chunk_tokens=120), whole)
    chunks = reads[2:]
    assert len(chunks) > 8 and all(rows * width <= 120 or rows == 1 for rows, width in chunks)
    reader.train()
    first, again = (gradients(reader, HALVES, chunk_tokens=120) for _ in range(2))
    assert_same(again, first)
    assert first[0] != pytest.approx(whole[0], rel=1e-3)  # dropout was on


def lines(config, kind: str) -> list[dict[str, Any]]:
    text = (Path(config.output.folder) / "metrics.jsonl").read_text()
    return [one for one in map(json.loads, text.splitlines()) if one["kind"] == kind]


@pytest.fixture(scope="module")
def learned(tiny_bert, tmp_path_factory):
    folder = tmp_path_factory.mktemp("reader") / "run"
    rows = made_rows(96)
    config = reader_run(folder, tiny_bert, rows, max_steps=30, evaluate_steps=10, save_steps=30)
    return config, train(config)


def test_a_tiny_reader_learns_to_answer(learned) -> None:
    config, result = learned
    assert result.metric == "exact_match_5" and result.num_questions == 16
    assert result.before["exact_match_5"] < 0.2 and result.after["exact_match_5"] > 0.8
    trained = lines(config, "train")
    assert trained[-1]["loss"] < 0.5 * trained[0]["loss"]
    assert trained[-1]["relevance_accuracy"] > 0.8


def test_what_was_trained_opens_in_transformers_with_the_same_logits(learned) -> None:
    config, _ = learned
    folder = Path(config.output.folder) / "reader"
    ours, theirs = load_reader(str(folder)), DPRReader.from_pretrained(folder).eval()
    assert ours.template.max_length == 64
    question, passage = ours.template.questions(["moon ?"])[0], ours.template(["a"], ["the sea"])[0]
    ids, mask = pad([ours.template.reading(question, passage).ids], pad_id=0)
    with torch.no_grad():
        said, expected = ours(ids, mask), theirs(input_ids=ids, attention_mask=mask.long())
    named = (expected.start_logits, expected.end_logits, expected.relevance_logits)
    for one, other in zip(said, named, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    again = train(config)  # it is finished, and says so again
    assert again.best_step == learned[1].best_step
    with pytest.raises(ArtError, match="this run trained a reader, not a retriever"):
        finished_retriever(folder.parent)
    assert finished_reader(folder.parent) == folder
    assert finished_reader(folder) is None  # of something else: it is taken by its own name


def test_a_killed_run_ends_with_the_bits_of_an_uninterrupted_one(tiny_bert, tmp_path) -> None:
    rows, settings = made_rows(40), {"max_steps": 4, "evaluate_steps": 4, "save_steps": 2}
    runs = [reader_run(tmp_path / one, tiny_bert, rows, **settings) for one in ("whole", "killed")]
    train(runs[0])
    kill(runs[1], after=3)
    assert RunFolder.of(runs[1]).steps()[-1] == 2
    train(runs[1])
    ours, theirs = (
        load_file(RunFolder.of(run).path / "last" / "reader" / "model.safetensors") for run in runs
    )
    assert {name: one.tobytes() for name, one in ours.items()} == {
        name: one.tobytes() for name, one in theirs.items()
    }


def test_two_processes_take_the_step_of_one(tiny_bert, tmp_path) -> None:
    alone, shared = (
        reader_run(tmp_path / name, tiny_bert, made_rows(32), max_steps=1, chunk_tokens=200)
        for name in ("alone", "shared")
    )
    train(alone)
    (tmp_path / "shared.yaml").write_text(shared.to_yaml())
    words = ["train", "--config", tmp_path / "shared.yaml"]
    ended = finish(words, tmp_path / "said", world_size=2)
    assert [status for status, _ in ended] == [0, 0], ended
    one, two = (
        [moments["exp_avg"] for moments in torch.load(path)["state"].values()]
        for path in (tmp_path / name / "last" / "optimizer.pt" for name in ("alone", "shared"))
    )
    for mine, theirs in zip(one, two, strict=True):  # of the clipped gradient, a tenth
        torch.testing.assert_close(theirs, mine, rtol=0, atol=1e-6)
    assert max(average.abs().max() for average in one) > 1e-3
    evaluations = [lines(config, "evaluation")[0]["f1_5"] for config in (alone, shared)]
    assert evaluations[0] == evaluations[1]


def test_questions_without_an_answer_in_what_is_read_are_left_out_and_counted(
    tiny_bert, tmp_path, capsys
) -> None:
    rows = made_rows(40)
    for row in rows[:7]:
        row["answers"] = ["candle"]
    rows[6]["answers"] = ["東"]  # the vocabulary lacks both, which does not make them the same
    for context in rows[6]["ctxs"]:
        context["text"] += " 西"
    for context in rows[7]["ctxs"]:  # the answer stands behind what is read
        context["text"] = "moon " * 70 + context["text"]
    config = reader_run(tmp_path / "run", tiny_bert, rows, max_steps=1)
    train(config)
    said = capsys.readouterr().err
    assert said.count("8 of 40 labelled questions do not train: no answer stands in the first") == 1
    assert "fewer negatives than reader.passages_per_question" not in said
    for row in rows:
        row["answers"] = []
    bad = reader_run(tmp_path / "none", tiny_bert, rows)
    with pytest.raises(DataError, match="no answer stands in a positive passage of its question"):
        train(bad)


def test_a_reader_is_judged_on_given_questions_with_passages(tiny_bert, tmp_path, capsys) -> None:
    dev = tmp_path / "dev.json"
    given = made_rows(23, seed=9)
    for row in given[20:]:
        row["answers"] = []
    dev.write_text(json.dumps(given))
    document = reader_run(tmp_path / "run", tiny_bert, made_rows(8), max_steps=1).model_dump()
    document["evaluation"]["supervised"] = [str(dev)]
    result = train(check_config(document, source="test"))
    assert result.num_questions == 20 and set(result.before) == {"exact_match_5", "f1_5"}
    assert "3 of 23 questions of evaluation.supervised have no answers" in capsys.readouterr().err
    unlabelled = [one | {"answers": []} for one in made_rows(20, seed=9)]
    dev.write_text(json.dumps(unlabelled))
    document["output"]["folder"] = str(tmp_path / "other")
    with pytest.raises(DataError, match="no question has answers to compare a reader's with"):
        train(check_config(document, source="test"))


def test_the_plan_counts_what_a_reader_reads(tiny_bert, tmp_path) -> None:
    config = reader_run(tmp_path / "run", tiny_bert, made_rows(40), max_steps=10)
    said = plan(config, forecast(config))
    assert "24 labelled questions, 1 process" in said and "4 passages each at most" in said
    assert "reader: weights, gradients, Adam" in said
    assert "no index" in said and "only counts: no rate of a reader is measured" in said
    published = read_config(Path(__file__).parents[2] / "configs" / "nq" / "reader.yaml")
    published = published.model_copy(update={"output": config.output})
    planned = forecast(published, WhatIf(num_questions=1600, num_gpus=8), world_size=8)
    # Forward and backward pass of 24 inputs of 166 tokens each, of 85 million weights in layers.
    per_question = planned.flops["learn"] / 10 / 1600
    assert per_question == pytest.approx(3 * 24 * 166 * 2 * 85e6, rel=0.1)
    assert sum(planned.memory.needed.values()) < 16e9 and planned.seconds is not None


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"reader": None}, "reader: is required by training.method reader. The reader that"),
        ({"retriever": {"model": "m"}}, "retriever: leave it out: training.method reader trains a"),
        ({"data": {}}, "data.supervised: is required by training.method reader"),
        ({"evaluation": {"questions": "q.txt"}}, "evaluation.questions: a reader is judged on"),
        ({"evaluation": {"regex_answers": True}}, "evaluation.regex_answers: a reader learns from"),
        ({"training": {"method": "dpr"}}, "retriever: is required by training.method dpr"),
        ({"reader": {"model": "m", "max_len": 9}}, "did you mean reader.max_length?"),
    ],
)
def test_settings_that_do_not_fit_a_reader_are_named(edit, said, tiny_bert, tmp_path) -> None:
    document = reader_run(tmp_path / "run", tiny_bert, made_rows(8)).model_dump()
    with pytest.raises(ConfigFaults) as caught:
        check_config(document | edit, source="test")
    assert said in str(caught.value)


def test_what_cannot_be_read_is_one_line_with_its_place(tiny_bert, tmp_path) -> None:
    rows = made_rows(8)
    del rows[3]["ctxs"][2]["has_answer"], rows[3]["answers"]
    with pytest.raises(RowError, match=r"run\.json: entry 4: ctxs\[2\]: neither `has_answer` nor"):
        train(reader_run(tmp_path / "run", tiny_bert, rows))
    long = reader_run(tmp_path / "long", tiny_bert, made_rows(8)).model_dump()
    long["reader"]["max_length"] = 350
    with pytest.raises(ConfigError, match=r"reader\.max_length: 350, but .* has positions for 128"):
        train(check_config(long, source="test"))
