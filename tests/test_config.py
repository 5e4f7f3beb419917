"""Settings: every fault at once, every shipped file valid, nothing silently ignored."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from art.config import Config, commented_yaml, differences, fields
from art.errors import ConfigError, ConfigFaults
from art.planning.shapes import published_tower
from art.teacher.shapes import published_language_model
from art.training.plan import describe, plan_run
from art.training.schedule import Schedule
from art.training.settings import check_config, read_config, read_stages

ROOT = Path(__file__).parent.parent
SHIPPED = [
    path
    for path in sorted([*ROOT.glob("configs/**/*.yaml"), *ROOT.glob("art/demo/*.yaml")])
    if path.parent.name != "base"  # what others are laid over
]
PUBLISHED = [path for path in SHIPPED if path.parent.parent.name == "configs"]
MINIMAL = {
    "data": {"passages": "p.tsv", "questions": "q.txt"},
    "retriever": {"model": "m"},
    "teacher": {"model": "s"},
    "output": {"folder": "runs/x"},
}

ANSWERS, RERANKER = ["--teacher.kind=answer-likelihood"], ["--teacher.kind=cross-encoder"]
SOON = ["--training.refresh_steps=100", "--training.refresh_when_changed=0.1"]


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def write(path: Path, text: str | dict) -> Path:
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text))
    return path


def faults(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read_config(path, overrides)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "c.yaml", MINIMAL)


@pytest.mark.parametrize("path", SHIPPED, ids=named)
def test_every_shipped_file_is_valid_and_can_be_planned(path: Path) -> None:
    for stage in read_stages(path):
        config = stage.config
        schedule = plan_run(config, num_questions=79_168, num_labelled=58_880, world_size=1)
        assert schedule.num_steps > 0
        said = describe(config, schedule, num_passages=21_015_324, world_size=1)
        assert "21,015,324 passages" in said
        assert f"{schedule.num_steps:,} steps of {config.training.questions_per_step}" in said


@pytest.mark.parametrize("path", SHIPPED, ids=named)
def test_shipped_files_say_how_many_towers_their_figures_are_of(path: Path) -> None:
    for stage in read_stages(path):
        if stage.config.retriever is not None:  # else it is a reader's
            assert stage.config.retriever.tied is (path.stem == "demo")


def test_shipped_files_were_found() -> None:
    names = {
        "demo/demo",
        "configs/demo",
        "configs/demo-words",
        "configs/covidqa-cpu",
        "configs/warmup-art-dpr",
    }
    asked = ("nq", "triviaqa", "squad", "webq", "multi", "nq-full", "msmarco", "msmarco-nq-full")
    names |= {f"{one}/art-{teacher}" for one in asked for teacher in ("t0-3b", "t5-xxl-lm-adapt")}
    names |= {f"{one}/art-large-t0-3b" for one in ("nq", "triviaqa")}
    names |= {f"nq/art-t0-3b-from-{start}" for start in ("mss", "ict")}
    names |= {f"nq/art-t0-3b-k{k}" for k in (4, 8, 16, 64, 128)}
    names |= {f"{one}/mss-dpr" for one in ("nq", "triviaqa", "webq")}
    names |= {f"{one}/dpr" for one in ("nq", "triviaqa", "squad", "webq", "trec")}
    names |= {"nq/reader"}
    assert names == {named(path) for path in SHIPPED}


@pytest.mark.parametrize("path", PUBLISHED, ids=named)
def test_published_settings_say_what_they_are_held_against_and_where_they_go(path: Path) -> None:
    assert "\n# Held against: " in path.read_text()
    name = path.relative_to(ROOT / "configs")
    assert f"| [`{name}`]({name}) | " in (ROOT / "configs" / "plans.md").read_text()
    (stage,) = read_stages(path)
    assert stage.config.output.folder == f"runs/{named(path)}"


@pytest.mark.parametrize(
    "path", [*PUBLISHED, *ROOT.glob("configs/base/*.yaml")], ids=lambda path: named(path)
)
def test_every_published_value_says_where_it_is_from(path: Path) -> None:
    section, silent = "", []
    for line in path.read_text().splitlines():
        value, _, source = line.partition("#")
        if value.strip() and not value.startswith(" "):
            section = value.partition(":")[0]
        elif value.strip() and section in ("retriever", "reader", "index", "teacher", "training"):
            silent += [line] * (not source.strip().startswith(("paper", "release", "ours")))
    assert silent == []


def test_every_base_is_used_and_its_models_have_sizes_that_plans_know() -> None:
    bases, models = set(), set()
    for path in PUBLISHED:
        (stage,) = read_stages(path)
        bases |= {Path(origin) for origin in stage.origins.values() if "/base/" in origin}
        models.add(stage.config.towers.model)
        if stage.config.teacher is not None:
            models.add(stage.config.teacher.model)
    assert bases == set(ROOT.glob("configs/base/*.yaml"))
    for model in models:
        assert published_tower(model) or published_language_model(model, shares_contexts=True)


# Of the paper's table: questions a step, K, epochs, steps between refreshes and evaluations.
TABLE = {
    "nq/art-t0-3b": (64, 32, 10, 500, 500),
    "triviaqa/art-t0-3b": (64, 32, 10, 500, 500),
    "squad/art-t0-3b": (64, 32, 10, 500, 500),
    "webq/art-t0-3b": (16, 32, 20, 500, 500),
    "nq/art-t5-xxl-lm-adapt": (32, 16, 10, 1000, 1000),
    "msmarco/art-t0-3b": (512, 4, 10, 500, 1000),
    "msmarco-nq-full/art-t0-3b": (64, 32, 10, 500, 500),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_published_settings_are_the_papers(name: str) -> None:
    config = read_config(ROOT / "configs" / f"{name}.yaml")
    training = config.training
    assert TABLE[name] == (
        training.questions_per_step,
        training.top_k,
        training.epochs,
        training.refresh_steps,
        training.evaluate_steps,
    )
    assert (training.learning_rate, training.warmup_share, training.weight_decay) == (
        2e-5,
        0.01,
        0.1,
    )
    assert (training.max_grad_norm, training.seed) == (1.0, 1234)
    assert config.retriever.temperature == "auto"
    assert (config.teacher.temperature, config.teacher.reduction) == (1.0, "mean")
    assert plan_run(config, num_questions=79_168, world_size=8).num_steps  # 8 GPUs share a step


def test_the_published_supervised_settings_are_dprs() -> None:
    config = read_config(ROOT / "configs" / "nq" / "dpr.yaml")
    training = config.training
    schedule = plan_run(config, num_questions=58_880, world_size=8)
    assert (training.questions_per_step, training.hard_negatives, training.epochs) == (128, 1, 40)
    assert (schedule.num_steps, schedule.warmup_steps) == (18_400, 1_237)
    assert (training.learning_rate, training.max_grad_norm, training.weight_decay) == (2e-5, 2, 0)
    assert (config.retriever.temperature, config.teacher, config.data.passages) == (1, None, None)
    assert schedule.due(460) == ("save", "evaluate")  # no index, so nothing to refresh


def test_the_published_reader_is_dprs() -> None:
    config = read_config(ROOT / "configs" / "nq" / "reader.yaml")
    reader, training = config.reader, config.training
    assert (reader.model, reader.max_length) == ("bert-base-uncased", 350)
    assert (reader.passages_per_question, training.questions_per_step) == (24, 16)
    assert (training.learning_rate, training.warmup_share, training.weight_decay) == (1e-5, 0, 0)
    assert (config.retriever, config.teacher, config.data.passages) == (None, None, None)
    assert plan_run(config, num_questions=79_168, world_size=8).num_steps == 49_480


def test_stages_do_not_pass_on_a_reader(tmp_path: Path) -> None:
    document = {**MINIMAL, "stages": [{"name": "one"}, {"name": "two", "reader": {"model": "m"}}]}
    message = faults(write(tmp_path / "c.yaml", document))
    assert "stage two: reader: stages pass on retrievers; train it in a file of its own" in message


def test_the_stages_of_the_shipped_chain_are_the_three_methods() -> None:
    stages = read_stages(ROOT / "configs" / "warmup-art-dpr.yaml")
    assert [stage.config.training.method for stage in stages] == ["warmup", "art", "dpr"]


def test_a_file_is_laid_over_its_bases_and_each_setting_says_which_file_it_is_from(
    tmp_path: Path,
) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "nq").mkdir()
    common = {**MINIMAL, "training": {"top_k": 8, "epochs": 3, "seed": 5}}
    write(tmp_path / "base" / "common.yaml", common)
    write(tmp_path / "base" / "small.yaml", {"training": {"top_k": 4, "epochs": 2}})
    own = {"base": ["../base/common.yaml", "../base/small.yaml"], "training": {"epochs": 1}}
    (stage,) = read_stages(write(tmp_path / "nq" / "c.yaml", own), ["--training.log_steps=7"])
    training = stage.config.training
    assert (training.epochs, training.top_k, training.seed, training.log_steps) == (1, 4, 5, 7)
    assert {
        dotted: stage.origins[f"training.{dotted}"] for dotted in ("epochs", "top_k", "seed")
    } == {
        "epochs": str(tmp_path / "nq" / "c.yaml"),
        "top_k": str(tmp_path / "base" / "small.yaml"),
        "seed": str(tmp_path / "base" / "common.yaml"),
    }
    assert "base" not in stage.config.to_yaml()
    assert read_config(write(tmp_path / "run.yaml", stage.config.to_yaml())) == stage.config


@pytest.mark.parametrize(
    ("base", "below", "complaint"),
    [
        ("below.yaml", {"base": "c.yaml"}, "below.yaml: a base has no 'base' of its own"),
        ("below.yaml", {"stages": []}, "below.yaml: a base has no 'stages' of its own"),
        ("elsewhere.yaml", {}, "elsewhere.yaml: no such config file"),
        ({"a": 1}, {}, "c.yaml: base: not a path"),
        ("below.yaml", {"training": {"epoch": 1}}, "below.yaml: training.epoch: no such setting"),
    ],
)
def test_what_cannot_be_a_base_is_one_line_that_names_the_file(
    base, below, complaint, tmp_path: Path
) -> None:
    write(tmp_path / "below.yaml", below)
    assert complaint in faults(write(tmp_path / "c.yaml", {"base": base, **MINIMAL}))


@pytest.mark.parametrize(
    ("sections", "overrides", "named"),
    [
        (("retriever", "output"), ["--data.cache_folder=c"], ["data.passages", "data.questions"]),
        (("retriever", "output"), ["--data.cache_folder=c"], ["teacher: is required by"]),
        (tuple(MINIMAL), ["--training.method=dpr"], ["data.supervised: is required by"]),
        (
            ("retriever", "output"),
            ["--training.method=warmup", "--data.questions=q.txt"],
            ["data.passages: is required by training.method warmup"],
        ),
        (
            ("retriever", "output"),
            ["--training.method=dpr", "--data.supervised=s", "--evaluation.questions=q"],
            ["data.passages: is required by evaluation.questions"],
        ),
        (
            tuple(MINIMAL),
            ["--training.labelled_share=0.5"],
            ["data.supervised: is required by training.labelled_share"],
        ),
        (
            tuple(MINIMAL),
            ["--training.labelled_share=0.5", "--data.supervised=s", "--training.method=dpr"],
            ["training.labelled_share: is of training.method art"],
        ),
        (
            tuple(MINIMAL),
            ["--data.generated=g.jsonl"],
            ["training.generated_share: is required by data.generated beside data.questions"],
        ),
        (
            tuple(MINIMAL),
            ["--training.generated_share=0.5"],
            ["training.generated_share: needs data.generated, "],
        ),
        (
            tuple(MINIMAL),
            ["--training.generated_share=0", "--data.generated=g", "--data.questions=[]"],
            ["training.generated_share: needs data.questions beside data.generated"],
        ),
        (
            tuple(MINIMAL),
            ["--training.generated_share=1.1", "--data.generated=g"],
            ["training.generated_share: input should be less than or equal to 1"],
        ),
    ],
)
def test_what_a_method_cannot_do_without_is_named_with_who_needs_it(
    tmp_path: Path, sections, overrides, named
) -> None:
    document = {name: MINIMAL[name] for name in sections}
    message = faults(write(tmp_path / "c.yaml", document), *overrides)
    for one in named:
        assert one in message
    assert message.count("is required by") <= 3


def test_generated_questions_take_the_place_of_real_ones(tmp_path: Path) -> None:
    alone = ["--data.generated=g.jsonl", "--data.questions=[]"]
    path = write(tmp_path / "c.yaml", MINIMAL)
    config = read_config(path, alone)
    schedule = plan_run(config, num_questions=90, num_generated=90, world_size=1)
    assert schedule.mixture is None and schedule.num_questions == 90
    assert "90 questions (all generated), " in described(config, schedule)
    both = ["--data.generated=g.jsonl", "--training.generated_share=0.25"]
    config = read_config(path, both)
    schedule = plan_run(config, num_questions=900, num_generated=600, world_size=1)
    assert schedule.num_questions == 400
    assert "400 questions an epoch (100 of 600 generated ones), " in described(config, schedule)
    few = plan_run(config, num_questions=340, num_generated=40, world_size=1)
    assert "(40 of 40 generated ones, each 2.5 times), " in described(config, few)
    with pytest.raises(ConfigFaults, match="there are only 40 training questions"):
        plan_run(config, num_questions=630, num_generated=600, world_size=1)


def described(config: Config, schedule: Schedule) -> str:
    return describe(config, schedule, num_passages=5, world_size=1)


def test_a_run_without_a_teacher_reads_back_without_one(tmp_path: Path) -> None:
    document = {name: MINIMAL[name] for name in ("retriever", "output")}
    overrides = ["--training.method=dpr", "--data.supervised=s.json"]
    config = read_config(write(tmp_path / "c.yaml", document), overrides)
    assert config.teacher is None
    again = read_config(write(tmp_path / "again.yaml", config.to_yaml()))
    assert again == config
    assert differences(config, again) == []
    other = read_config(tmp_path / "again.yaml", ["--teacher.model=s"])
    assert "teacher.model: None → 's'" in differences(config, other)


def test_every_field_has_a_sentence() -> None:
    for dotted, sentence, _ in fields():
        assert len(sentence) > 20, dotted


def test_every_fault_is_reported_at_once_with_place_and_nearest_name(tmp_path: Path) -> None:
    broken = {
        **MINIMAL,
        "retriever": {"model": "m", "poolng": "mean"},
        "training": {"top_k": 1, "learning_rate": "fast"},
    }
    message = faults(
        write(tmp_path / "c.yaml", broken), "--trainin.seed=1", "--index.shard_rows", "0"
    )
    assert "5 settings are wrong" in message
    assert "c.yaml: retriever.poolng: no such setting; did you mean retriever.pooling?" in message
    assert "c.yaml: training.top_k: " in message
    assert "c.yaml: training.learning_rate: " in message
    assert "command line: --trainin.seed: no such option; did you mean training.seed?" in message
    assert "command line: index.shard_rows: " in message


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["--training.learning_rate=1e-5"], 1e-5),
        (["--training.learning_rate", "1e-5"], 1e-5),
        (["--training.learning_rate", "0.5"], 0.5),
    ],
)
def test_overrides_replace_what_the_file_says(
    file: Path, overrides: list[str], expected: float
) -> None:
    assert read_config(file, overrides).training.learning_rate == expected


def test_an_override_can_be_a_list_null_or_plain_text(file: Path) -> None:
    config = read_config(
        file,
        [
            "--data.questions=[a.txt, b.txt]",
            "--retriever.num_layers=null",
            "--retriever.question_prefix=query: ",
        ],
    )
    assert config.data.questions == ["a.txt", "b.txt"]
    assert config.retriever.num_layers is None
    assert config.retriever.question_prefix == "query: "


def test_the_section_that_was_called_scorer_is_refused_in_one_line(tmp_path: Path) -> None:
    document = {"scorer" if name == "teacher" else name: MINIMAL[name] for name in MINIMAL}
    message = faults(write(tmp_path / "c.yaml", document))
    assert message.endswith("c.yaml: scorer: is called teacher now; rename the section")
    assert "\n" not in message
    message = faults(write(tmp_path / "d.yaml", MINIMAL), "--scorer.temperature=0.1")
    assert message.endswith("no such option; did you mean teacher.temperature?")


def test_missing_sections_and_required_settings_are_named(tmp_path: Path) -> None:
    message = faults(write(tmp_path / "c.yaml", {"data": {"questions": "q.txt"}}))
    for dotted in ("data.passages", "retriever", "teacher", "output"):
        assert f"{dotted}: " in message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\na: 2\n", "c.yaml:2: the key 'a' stands twice"),
        ("data: [1\n", "c.yaml:2: "),
        ("- 1\n", "must be sections"),
        ("data: 3\n", "data: "),
        ("? [a]\n: 1\n", "c.yaml:1: "),
    ],
)
def test_broken_yaml_is_one_clear_line(tmp_path: Path, text: str, complaint: str) -> None:
    assert complaint in faults(write(tmp_path / "c.yaml", text))


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    assert "no such config file" in faults(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["--training.questions_per_micro_batch=7"], "training.questions_per_micro_batch"),
        (["--training.evaluate_steps=3", "--training.refresh_steps=2"], "training.evaluate_steps"),
        ([*SOON, "--training.refresh_steps={0: 50, 100: 300}"], "300, the interval that begins"),
        ([*SOON, "--training.refresh_steps={100: 50}"], "no interval for step 0"),
        ([*SOON, "--training.refresh_steps={0: 50, 100: 0}"], "training.refresh_steps"),
        (
            ["--training.refresh_steps={0: 50, 300: 300}"],
            "multiple of training.refresh_steps (300)",
        ),
        (["--training.refresh_when_changed=0.1"], "refresh_when_changed: decides nothing"),
        ([*SOON, "--training.candidates=bm25"], "training.refresh_when_changed: has no use"),
        ([*SOON, "--retriever.freeze=passage"], "training.refresh_when_changed: has no use"),
        (["--training.over_retrieve=2", "--training.candidates=bm25"], "training.over_retrieve"),
        (["--training.over_retrieve=2", "--retriever.freeze=passage"], "training.over_retrieve"),
        (["--retriever.tied=true", "--retriever.freeze=passage"], "retriever.freeze"),
        (["--teacher.passage_prompt=no place"], "teacher.passage_prompt"),
        ([*ANSWERS, "--teacher.passage_prompt={passage}"], "teacher.passage_prompt"),
        ([*ANSWERS, "--teacher.question_prefix=Q:"], "teacher.question_prefix"),
        ([*RERANKER, "--teacher.passage_prompt={passage}"], "teacher.passage_prompt"),
        ([*RERANKER, "--teacher.question_prefix=Q:"], "teacher.question_prefix"),
        ([*RERANKER, "--teacher.chat_template=true"], "teacher.chat_template"),
        ([*RERANKER, "--teacher.reduction=sum"], "teacher.reduction"),
        ([*RERANKER, "--teacher.question_length=64"], "teacher.question_length"),
        (["--evaluation.qrels=q.tsv"], "evaluation.qrels"),
        (["--index.nprobe=64"], "index.nprobe"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    file: Path, overrides: list[str], named: str
) -> None:
    assert named in faults(file, *overrides)


def test_intervals_by_steps_read_back_as_they_were_given(file: Path, tmp_path: Path) -> None:
    config = read_config(file, ["--training.refresh_steps={500: 500, 0: 100}"])
    assert config.training.refresh_steps == {0: 100, 500: 500}
    text = config.to_yaml()
    assert "    0: 100\n    500: 500\n" in text
    assert read_config(write(tmp_path / "again.yaml", text)) == config
    assert check_config(config.model_dump(mode="json"), source="a checkpoint") == config


def test_defaults_suit_every_kind_of_teacher(file: Path) -> None:
    prompt = "--teacher.passage_prompt={question}{passage}"
    for overrides in (ANSWERS, RERANKER, [*ANSWERS, prompt]):
        config = read_config(file, overrides)
        assert check_config(config.model_dump(mode="json"), source="again") == config


def test_environment_variables_do_not_leak_in(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINING__TOP_K", "5")
    monkeypatch.setenv("training", "{}")
    assert read_config(file).training.top_k == 32


def test_resolved_settings_read_back_the_same(file: Path, tmp_path: Path) -> None:
    config = read_config(file, ["--retriever.question_prefix=é: ", "--training.max_steps=3"])
    again = read_config(write(tmp_path / "again.yaml", config.to_yaml()))
    assert again == config


def test_only_changes_that_change_the_result_count_as_differences(file: Path) -> None:
    old = read_config(file)
    assert differences(old, read_config(file, ["--training.log_steps=7"])) == []
    assert differences(old, read_config(file, ["--training.top_k=7"])) == ["training.top_k: 32 → 7"]


def test_misfits_with_the_questions_and_processes_are_listed_together(file: Path) -> None:
    config: Config = read_config(file)
    with pytest.raises(ConfigFaults) as caught:
        plan_run(config, num_questions=10, world_size=3)
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize("word", ["--teacher.temperature=.inf", "--training.learning_rate=.nan"])
def test_numbers_that_are_not_finite_are_refused(file: Path, word: str) -> None:
    assert word.partition("=")[0].removeprefix("--") in faults(file, word)


def test_every_setting_says_where_it_comes_from(file: Path) -> None:
    stage = read_stages(file, ["--training.top_k=7", "--teacher.model=t"])[0]
    config, origins = stage.config, stage.origins
    assert set(origins) == {dotted for dotted, _, _ in fields()}
    assert origins["training.top_k"] == origins["teacher.model"] == "command line"
    assert origins["retriever.model"] == str(file)
    assert origins["training.seed"] == "default"
    assert config == read_config(file, ["--training.top_k=7", "--teacher.model=t"])


def test_a_written_file_reads_back_and_explains_every_setting_in_it(tmp_path: Path) -> None:
    values = {
        "data.passages": "my corpus: one.tsv",
        "data.questions": ["a.txt", "b # c.txt"],
        "retriever.model": "m",
        "teacher.model": "s",
        "teacher.temperature": 0.2,
        "training.learning_rate": 1e-5,
        "training.max_steps": None,
        "training.cpu": True,
        "output.folder": "runs/" + "x" * 120,
    }
    text = commented_yaml(values, reasons={"teacher.temperature": "small."}, introduction="A\nB")
    document = read_config(write(tmp_path / "c.yaml", text)).model_dump()
    for dotted, value in values.items():
        section, _, key = dotted.partition(".")
        assert document[section][key] == value, dotted
    comments = " ".join(line.strip(" #") for line in text.splitlines() if "#" in line[:3])
    for dotted, sentence, _ in fields():
        assert (sentence in comments) == (dotted in values), dotted
    assert "Here: small." in text


def test_a_setting_that_does_not_exist_is_not_written() -> None:
    with pytest.raises(ValueError, match="no such settings"):
        commented_yaml({"training.topk": 3}, reasons={}, introduction="")


STAGED = {
    **MINIMAL,
    "training": {"epochs": 3, "learning_rate": 0.1},
    "stages": [
        {"name": "first", "training": {"epochs": 1}},
        {"name": "then-more", "training": {"learning_rate": 0.2}},
    ],
}


def test_each_stage_overlays_the_file_and_starts_from_the_one_before(tmp_path: Path) -> None:
    path = write(tmp_path / "c.yaml", STAGED)
    first, second = read_stages(path, ["--training.top_k=7"])
    assert (first.name, second.name) == ("first", "then-more")
    assert (first.config.training.epochs, first.config.training.learning_rate) == (1, 0.1)
    assert (second.config.training.epochs, second.config.training.learning_rate) == (3, 0.2)
    assert first.config.training.top_k == second.config.training.top_k == 7
    assert first.config.retriever.model == "m"
    assert second.config.retriever.model == "runs/x/1-first/retriever"
    assert second.config.output.folder == "runs/x/2-then-more"
    assert second.origins["training.learning_rate"] == f"{path}, stage then-more"
    assert second.origins["retriever.model"] == "stage before"
    with pytest.raises(ConfigError, match="has stages"):
        read_config(path)


@pytest.mark.parametrize(
    ("stages", "complaint"),
    [
        ([], "must be a list"),
        ({"name": "a"}, "must be a list"),
        ([{"training": {}}], "number 1 needs a name"),
        ([{"name": "../up"}], "number 1 needs a name"),
        ([{"name": "a"}, {"name": "a"}], "two are called 'a'"),
        ([{"name": "a", "output": {"folder": "x"}}], "output.folder is the file's"),
        ([{"name": "a", "training": {"epoch": 1}}], "stage a: training.epoch: no such setting"),
    ],
)
def test_faults_of_stages_are_named(tmp_path: Path, stages, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_stages(write(tmp_path / "c.yaml", {**MINIMAL, "stages": stages}))
    assert complaint in str(caught.value)
