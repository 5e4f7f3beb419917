"""What the kinds of teacher say of themselves, and what naming them must not load."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tiny_teachers import ANSWERS, make_reranker

from art.config import TeacherConfig
from art.files import fingerprint
from art.teacher.registry import KINDS, load_teacher, setting_faults
from art.weights import fingerprint_folder

ON_CPU = {"dtype": "float32", "device": "cpu"}


def faults(kind: str, **settings: object) -> list[str]:
    defaults = TeacherConfig.model_validate({"model": "m"}).model_dump()
    return list(setting_faults(kind, defaults | settings, defaults))


def test_settings_that_mean_nothing_to_a_kind_are_refused() -> None:
    line = "teacher.{}: means nothing to teacher.kind {}; leave it out"
    given = {"question_prefix": "Q: ", "reduction": "sum", "question_length": 9}
    assert faults("question-likelihood", **given) == []
    assert faults("answer-likelihood", **given) == [
        line.format("question_prefix", "answer-likelihood")
    ]
    expected = [line.format(name, "cross-encoder") for name in given]
    assert faults("cross-encoder", **given, max_length=9) == expected


@pytest.mark.parametrize(
    ("kind", "prompt", "missing"),
    [
        ("question-likelihood", "{passage}", []),
        ("question-likelihood", "{question}", ["{passage}"]),
        ("question-likelihood", "{passage}{passage}", ["{passage}"]),
        ("answer-likelihood", "{question} {passage}", []),
        ("answer-likelihood", "{passage}", ["{question}"]),
        ("answer-likelihood", "", ["{passage}", "{question}"]),
    ],
)
def test_a_prompt_holds_the_kinds_placeholders_once(kind, prompt, missing) -> None:
    expected = [f"teacher.passage_prompt: must hold {one} exactly once" for one in missing]
    assert faults(kind, passage_prompt=prompt) == expected


def test_the_words_in_fingerprints_stay_so_that_kept_scores_fit(
    tiny_llama, tiny_t5, tiny_bert, tmp_path
) -> None:
    def of(word: str, folder, template: str, *own: str) -> str:
        return fingerprint(word, fingerprint_folder(folder), template, *own)

    lengths = [512, 128]
    for folder, prefix in ((tiny_llama, []), (tiny_t5, ["Question: "])):
        settings = {"max_length": 512, "question_length": 128, **ON_CPU}
        question = load_teacher(str(folder), **settings)
        read = repr([question.template.prompt, *lengths, *prefix])
        parts = (folder, question.template.fingerprint, read, "float32", "mean")
        assert question.fingerprint == of("scorer 1", *parts)
        answer = load_teacher(str(folder), kind="answer-likelihood", answers=ANSWERS, **settings)
        read = repr([answer.template.prompt, *lengths])
        parts = (folder, answer.template.fingerprint, read, "float32", "mean")
        assert answer.fingerprint == of("answer scorer 1", *parts)
    folder = make_reranker(tiny_bert, tmp_path / "reranker", "bert", 1)
    crossed = load_teacher(str(folder), kind="cross-encoder", max_length=64, **ON_CPU)
    parts = (folder, crossed.template.fingerprint, crossed.template.layout, "float32")
    assert crossed.fingerprint == of("reranker 1", *parts)
    encoder = crossed.template._encoder.fingerprint
    assert crossed.template.fingerprint == fingerprint("scorer passages 1", encoder, "False")


def test_kinds_are_named_and_listed_without_torch() -> None:
    check = (
        "import sys\n"
        "from art.teacher.registry import KINDS\n"
        "import art.cli\n"
        "sys.argv = ['art', 'score', '--help']\n"
        "try:\n    art.cli.main()\n"
        "except SystemExit:\n    pass\n"
        "print(KINDS.names, [name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    names = ["answer-likelihood", "cross-encoder", "question-likelihood"]
    assert done.stdout.splitlines()[-1] == f"{names} []"
    assert all(f"\n  {kind.name}  " in done.stdout for kind in KINDS)
