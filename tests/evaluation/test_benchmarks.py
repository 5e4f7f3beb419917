"""Named benchmarks: what is stated of them, intervals and verdicts, means as they are published."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from art.errors import ArtError, ConfigError
from art.evaluation.benchmarks.against import (
    AgainstPublished,
    Measured,
    against_published,
    average,
    read_results,
    verdict,
)
from art.evaluation.benchmarks.registry import BENCHMARKS, DATA_SETS, Benchmark
from art.evaluation.statistics import wilson
from art.report import against_published as shown
from art.training.settings import read_stages

ROOT = Path(__file__).parents[2]
SINGLE = [one for one in BENCHMARKS if not one.average_of]
NAMES = {"SQuAD-Open": "squad", "TriviaQA": "triviaqa", "NQ": "nq", "WebQ": "webq", "TREC": "trec"}


def files_of(benchmark: Benchmark) -> set[str]:
    """Paths that fetching the data sets of a benchmark makes, as far as they are known."""
    files = [file for name in benchmark.needs for file in DATA_SETS[name].files]
    return {file.path for file in files} | {
        f"{file.unpacked}/{name}" for file in files for name, _ in file.holds
    }


def test_every_benchmark_that_was_asked_for_is_there() -> None:
    assert {"nq", "triviaqa", "webq", "squad", "trec", "msmarco", "beir"} <= set(BENCHMARKS.names)
    assert len(BENCHMARKS["beir"].average_of) == 15
    assert len(BENCHMARKS["beir:cqadupstack"].average_of) == 12
    with pytest.raises(ConfigError, match="did you mean beir:scifact"):
        BENCHMARKS["beir:scifacts"]


@pytest.mark.parametrize("benchmark", SINGLE, ids=lambda one: one.name)
def test_a_benchmarks_files_are_those_of_the_data_sets_that_it_needs(benchmark) -> None:
    for path in filter(None, (benchmark.questions, benchmark.qrels)):
        in_archive = benchmark.name.startswith("beir:") and path.startswith(
            f"beir/{benchmark.name[5:]}/"
        )
        assert path in files_of(benchmark) or in_archive


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda one: one.name)
def test_a_published_value_has_a_source_and_an_unknown_one_has_none(benchmark) -> None:
    for one in benchmark.published:
        assert len(one.values) == len(benchmark.metrics)
        assert (one.source is None) == all(value is None for value in one.values)
    if "/" not in benchmark.name:  # the twelve are published as one
        systems = " ".join(one.system for one in benchmark.published)
        assert all(name in systems for name in ("BM25", "DPR", "ART", "MiniLM"))


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("configs/*/*.yaml")), ids=lambda one: f"{one.parent.name}/{one.stem}"
)
def test_what_shipped_settings_name_is_in_the_registry(path: Path) -> None:
    text = path.read_text()
    told = " ".join(re.findall(r"^# Held against:.*\n(?:#   .*\n)*", text, re.MULTILINE))
    told = re.sub(r"\n#  ", "", told)
    for name, *values in re.findall(
        r"(SQuAD-Open|TriviaQA|NQ|WebQ|TREC) ([\d.]+) / ([\d.]+)", told
    ):
        published = [one.values for one in BENCHMARKS[NAMES[name]].published]
        assert tuple(map(float, values)) in published
    if path.parent.name != "base":
        known = {file for one in SINGLE for file in files_of(one)}
        known |= {file.path for one in DATA_SETS for file in one.files}
        (stage,) = read_stages(path)
        data, judged = stage.config.data, stage.config.evaluation
        named = [data.passages, *data.questions, *data.supervised, *judged.questions]
        named += [*judged.supervised, judged.qrels]
        made = re.compile(r"data/nq-full/questions\.txt|.*\.found\.json")  # what `art search` found
        stated = {one.removeprefix("data/") for one in named if one and not made.fullmatch(one)}
        assert stated - known == set()


def measured(benchmark: Benchmark, values, half: float = 0.01) -> AgainstPublished:
    found = [
        Measured(metric=name, value=value, low=value - half, high=value + half, num_questions=9)
        for name, value in zip(benchmark.metrics, values, strict=True)
    ]
    return AgainstPublished(name=benchmark.name, measured=tuple(found), notes=())


def test_the_mean_over_beir_is_the_published_one_with_cqadupstacks_twelve_as_one() -> None:
    results = {}
    for one in SINGLE:
        if one.name.startswith("beir:"):
            # The twelve have no figures of their own: any that have the published mean.
            part = BENCHMARKS["beir:cqadupstack"] if "/" in one.name else one
            (art,) = (its.values for its in part.published if its.system.startswith("ART"))
            results[one.name] = measured(one, [value / 100 for value in art])
    mean = average(BENCHMARKS["beir"], results)
    assert [round(100 * one.value, 1) for one in mean.measured] == [40.4, 64.8]
    assert mean.notes == ()
    half = [(one.high - one.low) / 2 for one in mean.measured]
    assert half == pytest.approx([0.01 * np.sqrt(14 + 1 / 12) / 15] * 2)
    del results["beir:fever"], results["beir:cqadupstack/unix"]
    less = average(BENCHMARKS["beir"], results)
    assert "13 of 15 sets, not the published mean" in less.notes[0]
    assert "beir:fever" in less.notes[0] and "beir:cqadupstack/unix" in less.notes[0]
    with pytest.raises(ArtError, match="no result of beir is there"):
        average(BENCHMARKS["beir"], {})


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0.70, 0.80, "below"),
        (0.70, 0.8154, "below"),
        (0.70, 0.8156, "within"),  # 81.6 is rounded: it may have been 81.55
        (0.80, 0.82, "within"),
        (0.8164, 0.90, "within"),
        (0.8166, 0.90, "above"),
    ],
)
def test_ours_is_above_or_below_where_the_interval_does_not_hold_the_published(low, high, found):
    ours = Measured(metric="top_20", value=(low + high) / 2, low=low, high=high, num_questions=9)
    assert verdict(ours, 81.6) == found


def test_shares_have_wilsons_interval_and_means_students() -> None:
    hits = np.array([1.0] * 60 + [0.0] * 40)
    gains = np.random.default_rng(0).random(50)
    found = against_published(BENCHMARKS["nq"], {"top_20": hits, "top_100": hits})
    assert (found.measured[0].low, found.measured[0].high) == wilson(60, 100)
    judged = against_published(
        BENCHMARKS["beir:scifact"], {"ndcg@10": np.append(gains, np.nan), "recall@100": gains}
    )
    ends = stats.t.interval(0.95, 49, gains.mean(), stats.sem(gains))
    assert (judged.measured[0].low, judged.measured[0].high) == pytest.approx(ends)
    assert judged.measured[0].num_questions == 50


def test_another_task_than_the_published_one_is_said() -> None:
    ones = np.ones(300)
    scifact = BENCHMARKS["beir:scifact"]
    whole = against_published(scifact, {"ndcg@10": ones, "recall@100": ones}, num_passages=5183)
    assert whole.notes == ()
    other = against_published(scifact, {"ndcg@10": ones[1:]}, num_passages=60)
    assert [note.split(";")[0] for note in other.notes] == [
        "recall@100 was not computed: the ranking is not that deep",
        "299 questions",
        "60 passages",
    ]
    text = shown(other)
    assert re.search(r"^ours +100\.0 \(100\.0 to 100\.0\) +unknown$", text, re.MULTILINE)
    assert re.search(r"^BM25 +66\.5 above +unknown +Thakur et al\. 2021$", text, re.MULTILINE)
    assert re.search(r"^DPR +unknown +unknown +unknown$", text, re.MULTILINE)


def test_results_are_read_from_the_files_of_metrics_of_a_folder(tmp_path: Path) -> None:
    one = measured(BENCHMARKS["beir:scifact"], [0.552, 0.88])
    (tmp_path / "scifact.json").write_text(json.dumps({"metrics": {}, **one.document()}))
    (tmp_path / "other.json").write_text("{}")
    assert read_results(tmp_path) == {"beir:scifact": one}
    (tmp_path / "again.json").write_text(json.dumps(one.document()))
    with pytest.raises(ArtError, match=r"scifact\.json: another file is of beir:scifact too"):
        read_results(tmp_path)
