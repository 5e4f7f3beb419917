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


def test_evaluation_labels_of_another_corpus_are_refused_before_the_models_load(config) -> None:
    dev = Path(config.evaluation.questions[0])
    row = {"question": "who ?", "positive_passage_ids": ["of another corpus"]}
    dev.write_text(json.dumps(row))
    for opened in (open_data, lambda one: find(one, WhatIf())):
        with pytest.raises(MismatchError, match="none of the 1 passages named by positive_passa"):
            opened(config)
