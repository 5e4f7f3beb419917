"""What is said of a run's questions: those that stand several times, and those that also judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_run import tiny_run

from art.config import Config
from art.errors import MismatchError
from art.planning.inventory import WhatIf, find
from art.training.run_data import open_data
from art.training.settings import check_config
from art.training.setup import _notes


@pytest.fixture
def config(tiny_bert, tiny_t5, corpus, tmp_path) -> Config:
    return tiny_run(tmp_path / "run", tiny_bert, tiny_t5, corpus, max_steps=1)


def edited(config: Config, section: str, **values: object) -> Config:
    document = config.model_dump(mode="json")
    document[section] |= values
    return check_config(document, source="test")


def asked(config: Config, *texts: str) -> None:
    Path(config.data.questions[0]).write_text("\n".join(texts))


def notes(config: Config) -> list[str]:
    return list(open_data(config).files.notes("training.hard_negatives", 0))


def test_questions_that_stand_once_are_not_spoken_of(config) -> None:
    assert notes(config) == []


def test_training_questions_that_stand_several_times_are_counted(config) -> None:
    texts = [f"question {number} ?" for number in range(20)]
    asked(config, *texts, "question 3 ?", " question  3 ?", "question 7 ?")
    assert notes(config) == [
        "20 of 23 training questions are distinct; the others train several times an epoch "
        "(such as 'question 3 ?')"
    ]


def test_training_questions_that_also_judge_are_counted(config, tmp_path) -> None:
    judging = Path(config.evaluation.questions[0]).read_text().splitlines()
    own = [json.loads(line)["question"] for line in judging]
    asked(config, *(f"question {number} ?" for number in range(20)), f"{own[4]} ", own[9])
    (found,) = notes(config)
    assert found.startswith("2 of 12 questions that checkpoints are judged on are training quest")
    assert found in find(config, WhatIf()).basis  # of --dry-run


def test_questions_without_a_judgement_beside_judged_ones_do_not_count(config, tmp_path) -> None:
    texts = [f"question {number} ?" for number in range(20)]
    asked(config, *texts[:-1], "who is it ?")
    dev = [{"_id": number, "text": text} for number, text in enumerate(texts)]
    Path(config.evaluation.questions[0]).write_text("\n".join(map(json.dumps, dev)))
    (tmp_path / "qrels.tsv").write_text("3 0 p1 1\n19 0 p2 1\n")
    judged = edited(config, "evaluation", qrels=str(tmp_path / "qrels.tsv"))
    (found,) = notes(judged)
    assert found.startswith("1 of 2 questions that checkpoints are judged on are training quest")


def test_labelled_training_questions_that_also_judge_are_counted(config) -> None:
    labelled = config.data.supervised[0]
    dpr = edited(
        edited(edited(config, "training", method="dpr"), "data", questions=[]),
        "evaluation",
        questions=[],
        supervised=[labelled],
    )
    (found,) = notes(dpr)
    assert found.startswith("40 of 40 questions that checkpoints are judged on are training quest")


def test_those_held_out_of_them_do_not_count_and_train_in_no_other_form(config) -> None:
    texts = [f"question {number} ?" for number in range(40)]
    asked(config, *texts, *(f" {text}" for text in texts))
    data = open_data(edited(config, "evaluation", questions=[]))
    training = {text.strip() for text in data.files.questions.training}
    judging = {one.text.strip() for one in data.files.questions.evaluation}
    assert judging and not training & judging
    (said,) = data.files.notes("training.hard_negatives", 0)
    assert f"{len(training)} of {2 * len(training)} training questions are distinct" in said


def test_a_question_that_was_asked_often_is_held_out_and_judged_once_at_most(config) -> None:
    often = ["question 0 ?"] * 200
    asked(config, *often, *(f"question {number} ?" for number in range(1, 40)))
    questions = open_data(edited(config, "evaluation", questions=[])).files.questions
    judging = [one.text for one in questions.evaluation]
    assert len(judging) == len(set(judging)) == 16
    num_often = 0 if often[0] in judging else 200
    assert len(questions.training) == 24 - bool(num_often) + num_often


def generated(config: Config, *texts: str) -> str:
    path = Path(config.data.questions[0]).with_name("generated.jsonl")
    path.write_text("\n".join(json.dumps({"question": text}) for text in texts))
    return str(path)


def test_questions_are_held_out_of_the_real_ones_and_train_as_neither_kind(config) -> None:
    texts = [f"question {number} ?" for number in range(40)]
    asked(config, *texts)
    path = generated(config, *texts, "generated ?", " generated  ?", "question 41 ?")
    config = edited(config, "evaluation", questions=[])
    document = config.model_dump(mode="json")
    document["data"]["generated"], document["training"]["generated_share"] = [path], 0.5
    questions = open_data(check_config(document, source="test")).files.questions
    judging = {one.text for one in questions.evaluation}
    assert len(judging) == 16 and judging < set(texts)
    assert questions.real == [text for text in texts if text not in judging]
    assert questions.generated == [*questions.real, "generated ?", " generated  ?", "question 41 ?"]
    data = open_data(check_config(document, source="test"))
    assert data.schedule.num_questions == 48  # as many of either
    assert list(data.files.notes("training.hard_negatives", 0)) == [
        "26 of 27 generated questions are distinct; the others train several times in a pass over "
        "them (such as 'generated ?')",
        f"24 of 27 generated questions are training questions too, such as {questions.real[0]!r}: "
        "they train as both",
    ]
    assert data.files.fingerprints(None).keys() >= {"training questions", "generated questions"}


def test_generated_questions_alone_are_all_that_trains_and_of_them_some_are_held_out(config):
    path = generated(config, *(f"question {number} ?" for number in range(40)))
    alone = edited(edited(config, "evaluation", questions=[]), "data", questions=[], generated=path)
    data = open_data(alone)
    assert (len(data.files.questions.generated), data.files.questions.real) == (24, [])
    assert data.schedule.num_questions == 24
    said = list(_notes(alone, data, None))
    assert said[0].startswith("16 generated questions held out")
    assert said[1].startswith("note: so generated questions choose, which are unlike")
    found = find(alone, WhatIf())
    assert (found.num_questions, found.num_evaluated) == (24, 16)


def test_a_plan_counts_generated_questions_beside_real_ones_that_are_not_here(config) -> None:
    def mixed(path: str, share: float) -> Config:
        document = config.model_dump(mode="json")
        document["data"]["generated"], document["training"]["generated_share"] = [path], share
        return check_config(document, source="test")

    here = generated(config, *(f"question {number} ?" for number in range(40)))
    sizes = {
        (path, share): (found.num_questions, found.num_generated)
        for path, share in ((here, 0.2), ("nowhere.jsonl", 0.2), ("nowhere.jsonl", 1))
        for found in [find(mixed(path, share), WhatIf(num_questions=1000))]
    }
    assert [*sizes.values()] == [(1040, 40), (1250, 250), (2000, 1000)]


def test_evaluation_labels_of_another_corpus_are_refused_before_the_models_load(config) -> None:
    dev = Path(config.evaluation.questions[0])
    row = {"question": "who ?", "positive_passage_ids": ["of another corpus"]}
    dev.write_text(json.dumps(row))
    for opened in (open_data, lambda one: find(one, WhatIf())):
        with pytest.raises(MismatchError, match="none of the 1 passages named by positive_passa"):
            opened(config)
