"""A method of one's own: one class in one file; `art/README.md` walks through it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from tiny_run import tiny_run

from art.config import Config
from art.data.contrastive import ContrastiveItem
from art.errors import ConfigFaults
from art.planning.forecast import forecast
from art.planning.format import plan
from art.planning.inventory import WhatIf
from art.training.contrastive import cut_pool
from art.training.loop import train
from art.training.methods import METHODS, LearnerParts, Method
from art.training.methods.dpr import ContrastiveLearner
from art.training.settings import check_config
from art.training.sources import PASSAGES, TrainingSet


class Titles(Method):
    """Every passage's title asks for the passage."""

    name: ClassVar[str] = "titles"
    description: ClassVar[str] = "titles ask for their passages"
    needs: ClassVar[tuple[str, ...]] = ("data.passages",)
    trains_on = PASSAGES
    needs_corpus = True
    items_name = "titles"
    passages_per_item = 1
    each = "a passage each"

    @classmethod
    def from_config(cls, config: Config) -> Titles:
        return cls()

    def learner(self, parts: LearnerParts, sets: Sequence[TrainingSet]) -> ContrastiveLearner:
        store, split, retriever = parts.files.store, sets[0].split, parts.retriever
        assert store is not None and split is not None

        def items(rows: Sequence[int], epoch: int) -> list[ContrastiveItem]:
            chosen = [store[row] for row in rows]
            asked = retriever.question_template.questions([one.title or "?" for one in chosen])
            read = retriever.passage_template([""] * len(chosen), [one.text for one in chosen])
            keys = np.array(rows, dtype=np.uint64)[:, None]
            return [
                ContrastiveItem(question, [passage], key, key)
                for question, passage, key in zip(asked, read, keys, strict=True)
            ]

        held_out = split.held_out.tolist()  # none where the settings name questions to judge on
        return ContrastiveLearner(
            parts,
            lambda places, epoch: items(split.training(places), epoch),
            chunk_tokens=None,
            pool=cut_pool(items, held_out) if held_out else None,
        )


@pytest.fixture
def configure(tiny_bert, tiny_t5, corpus, tmp_path) -> Iterator:
    METHODS.add(Titles)

    def of(**training: object) -> Config:
        config = tiny_run(tmp_path / "run", tiny_bert, tiny_t5, corpus, labelled=False)
        document = config.model_dump(mode="json") | {"teacher": None}
        document["training"] |= {"method": "titles", "max_steps": 4, **training}
        document["data"] |= {"questions": [], "supervised": []}
        return check_config(document, source="test")

    yield of
    METHODS.remove("titles")


def test_a_run_trains_by_a_method_that_the_registry_was_given(configure) -> None:
    config = configure()
    result = train(config)
    assert (result.metric, result.last_step) == ("pooled_mrr", 4)
    lines = (Path(config.output.folder) / "metrics.jsonl").read_text().splitlines()
    trained = [one for one in map(json.loads, lines) if one["kind"] == "train"]
    assert [one["step"] for one in trained] == [1, 2, 3, 4]
    assert all({"loss", "in_batch_accuracy", "read_seconds"} <= one.keys() for one in trained)


def test_it_is_judged_on_given_questions_and_planned_for_files_that_are_not_here(
    configure, corpus, tmp_path
) -> None:
    dev = tmp_path / "dev.jsonl"
    dev.write_text(json.dumps({"question": "who", "positive_passage_ids": [corpus[0][0]]}))
    document = configure(max_steps=2).model_dump(mode="json")
    document["evaluation"]["questions"] = [str(dev)]
    document["training"] |= {"evaluate_steps": 2, "refresh_steps": 2}
    assert train(check_config(document, source="test")).metric == "top_20"
    document["output"]["folder"] = str(tmp_path / "planned")
    planned = forecast(check_config(document, source="test"), WhatIf(num_passages=1000))
    assert planned.schedule.num_questions == 1000


def test_the_plan_describes_it(configure) -> None:
    config = configure()
    said = plan(config, forecast(config))
    assert "titles, 60 passages" in said and "a passage each" in said and "no index" in said


def test_what_it_needs_is_asked_for_and_its_name_is_known(configure) -> None:
    document = configure().model_dump(mode="json")
    document["data"]["passages"] = None
    with pytest.raises(
        ConfigFaults, match=r"data\.passages: is required by training\.method titles"
    ):
        check_config(document, source="test")
    document["training"]["method"] = "title"
    with pytest.raises(ConfigFaults, match=r"did you mean titles\? it is one of .*art.*titles"):
        check_config(document, source="test")
