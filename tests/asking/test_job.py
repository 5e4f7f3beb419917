"""A job that is killed, or divided among processes, writes the bytes of one that is not."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_askers import asker_of

from art.asking.asker import AskedPassage, AskedQuestion, Asker
from art.asking.job import ask_all, choose_rows, prompts_of
from art.data.passages import PassageStore
from art.errors import CorruptionError, MismatchError

ROWS = np.arange(11)


class KilledError(BaseException):
    """Stands for a SIGKILL."""


def asker_for_job(folder: Path, **settings) -> Asker:
    asker = asker_of(folder, kinds=("question",), per_passage=1, **settings)
    asker.block_passages = 3
    return asker


def run(asker: Asker, store: PassageStore, folder: Path) -> list[AskedQuestion]:
    return ask_all(asker, store, ROWS, folder, progress=False)


def test_a_killed_job_goes_on_behind_its_last_whole_block(
    tiny_llama: Path, store: PassageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = asker_for_job(tiny_llama)
    expected = run(asker, store, tmp_path / "whole")
    assert [one.passage_id for one in expected] == store.ids(ROWS)
    asked: list[str] = []
    original = asker.ask

    def dying(passages: list[AskedPassage]) -> list[AskedQuestion]:
        if len(asked) == 6:
            asked.append("")
            raise KilledError
        asked.extend(one.passage_id for one in passages)
        return original(passages)

    monkeypatch.setattr(asker, "ask", dying)
    with pytest.raises(KilledError):
        run(asker, store, tmp_path / "cut")
    # A kill while a block is written leaves more than the last whole one.
    with open(tmp_path / "cut" / "asked.jsonl", "ab") as file:
        file.write(b'{"passage_id": "p6", "ki')
    assert run(asker, store, tmp_path / "cut") == expected
    assert [one for one in asked if one] == store.ids(ROWS)  # none twice, none left out
    for name in ("asked.jsonl", "progress.json"):
        cut, whole = (tmp_path / job / name for job in ("cut", "whole"))
        assert cut.read_bytes() == whole.read_bytes()


def test_other_settings_or_passages_do_not_go_on(
    tiny_llama: Path, store: PassageStore, tmp_path: Path
) -> None:
    asker = asker_for_job(tiny_llama)
    run(asker, store, tmp_path)
    for other in ({"seed": 1}, {"top_p": 0.5}, {"examples": ["what is the moon"]}):
        with pytest.raises(MismatchError, match="other settings"):
            run(asker_for_job(tiny_llama, **other), store, tmp_path)
    with pytest.raises(MismatchError, match="other settings"):
        ask_all(asker, store, ROWS[:-1], tmp_path, progress=False)
    (tmp_path / "asked.jsonl").write_bytes(b"{")
    with pytest.raises(CorruptionError, match=r"asked\.jsonl: 1 bytes"):
        run(asker, store, tmp_path)


def test_a_job_goes_on_with_the_prompts_of_its_first_day(
    tiny_llama: Path, store: PassageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wake(day: int) -> None:
        clock = SimpleNamespace(now=lambda: datetime(2026, 1, day))
        monkeypatch.setattr("transformers.utils.chat_template_utils.datetime", clock)

    model = tmp_path / "model"
    shutil.copytree(tiny_llama, model)
    template = "{{ strftime_now('%Y-%m-%d') }} {{ messages[0]['content'] }} "
    (model / "chat_template.jinja").write_text(template)
    wake(1)
    folder = tmp_path / "job"
    expected = run(asker_for_job(model, chat_template=True), store, folder)
    wake(2)
    with pytest.raises(MismatchError, match="other settings"):
        run(asker_for_job(model, chat_template=True), store, folder)
    begun = prompts_of(folder)
    assert begun["question"].startswith("2026-01-01 Passage: {passage} . ")
    assert run(asker_for_job(model, chat_template=True, rendered=begun), store, folder) == expected
    # Settings that change the prompts are other settings still.
    for other in ({"chat_template": False}, {"examples": ["what is the moon"]}):
        with pytest.raises(MismatchError, match="other settings"):
            changed = {"chat_template": True} | other
            run(asker_for_job(model, rendered=begun, **changed), store, folder)


def test_more_questions_a_passage_do_not_make_a_kill_cost_more(tiny_llama: Path) -> None:
    for per_passage, passages in ((1, 128), (2, 64), (60, 2), (300, 1)):
        asker = asker_of(tiny_llama, kinds=("question",), per_passage=per_passage)
        assert asker.block_passages == passages


def test_so_many_passages_are_drawn() -> None:
    assert (
        choose_rows(5, None, seed=0).tolist() == choose_rows(5, 9, seed=0).tolist() == [*range(5)]
    )
    drawn = choose_rows(1000, 100, seed=0)
    assert len(set(drawn.tolist())) == 100 and (np.diff(drawn) > 0).all() and drawn[0] > 0
    # More of them hold those drawn before.
    assert set(drawn) < set(choose_rows(1000, 200, seed=0))
    assert drawn.tolist() != choose_rows(1000, 100, seed=1).tolist()
