"""The commands of the teacher."""

from __future__ import annotations

from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from art.cli.common import (
    BM25Language,
    OnCpu,
    PassagesFile,
    QuestionsFile,
    SkipBadRows,
    notify_skipped,
    processes,
    read_rows,
    say_what_is_cut,
    takes_retriever_settings,
    text_option,
)
from art.cli.opening import open_index

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from art.config import Config
    from art.data.formats import Question
    from art.retriever.encoders import Retriever
    from art.retriever.index import Index
    from art.teacher.base import Teacher
    from art.training.schedule import Schedule

_SEED = 1234  # of the questions drawn
_PAPER_TOP_K = 32

TeacherModel = Annotated[
    str,
    typer.Option(
        "--teacher",
        help="Frozen T5-like or decoder-only language model, or reranker: name or folder.",
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(help="Kind of teacher, listed below; question-likelihood where not given."),
]
TeacherType = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"] | None,
    typer.Option("--dtype", help="Precision of the teacher; auto where not given."),
]
Reduction = Annotated[
    Literal["mean", "sum"] | None,
    typer.Option(help="Of the token log-probabilities: mean (ART), sum (UPR)."),
]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Tokens of the prompt; 512.")]
ChatTemplate = Annotated[
    bool, typer.Option("--chat-template", help="Put the prompt through the model's chat template.")
]
BatchTokens = Annotated[
    int | None, typer.Option(min=1, help="Padded tokens scored at once; the device's own.")
]


class WithKinds(TyperCommand):
    """A command whose help ends with the kinds of teacher, which are looked up for it alone."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write each kind's name and what its score is."""
        from art.teacher.registry import KINDS

        with formatter.section("Kinds of teacher, by what the score of a passage is"):
            formatter.write_dl([(kind.name, kind.description) for kind in KINDS])


def score(
    teacher: TeacherModel,
    passages: PassagesFile,
    questions: QuestionsFile,
    run: Annotated[Path, typer.Option(help="Results to re-order: .trec, DPR's .json; or .gz.")],
    output: Annotated[
        Path, typer.Option(help="Result file, .json or .trec; a killed job goes on beside it.")
    ],
    kind: Kind = None,
    prompt: Annotated[
        str | None, typer.Option(help="Prompt with one {passage}; the paper's where not given.")
    ] = None,
    reduction: Reduction = None,
    max_length: MaxLength = None,
    chat_template: ChatTemplate = False,
    dtype: TeacherType = None,
    batch_tokens: BatchTokens = None,
    known_scores: Annotated[
        list[Path] | None,
        typer.Option(help="Run folder or score log of the same teacher, to reuse; repeatable."),
    ] = None,
    skip_bad_rows: SkipBadRows = False,
    cpu: OnCpu = False,
) -> None:
    """Re-order the results of any search by a frozen teacher's scores, without training."""
    from art import distributed
    from art.data.formats import read_questions, read_run, run_format
    from art.data.passages import PassageStore
    from art.data.tokens import TokenStore
    from art.evaluation.matching import match_run
    from art.evaluation.rescoring import rescore_run
    from art.evaluation.runs import check_run_ids
    from art.teacher.registry import answers_for, load_teacher

    run_format(output)  # scoring takes long; a wrong ending should not wait for it
    found = read_rows(read_run, run, skip_bad_rows=skip_bad_rows)
    asked = read_rows(read_questions, questions, skip_bad_rows=skip_bad_rows)
    check_run_ids(output, found.question_ids, chain.from_iterable(found.passage_ids))
    settings = _checked(
        teacher,
        kind=kind,
        passage_prompt=prompt and text_option(prompt, "--prompt"),
        reduction=reduction,
        max_length=max_length,
        chat_template=chat_template or None,
        dtype=dtype,
        batch_tokens=batch_tokens,
    )
    with processes(cpu) as device:

        def open_all() -> tuple[
            PassageStore, list[Question], NDArray[np.int64], Teacher, TokenStore
        ]:
            store = PassageStore.open_or_build(passages, skip_bad_rows=skip_bad_rows)
            notify_skipped(store.bad_rows)
            wanted, rows = match_run(found, asked, store, where=run)
            answers = answers_for(settings["kind"], wanted, where=questions)
            model = load_teacher(**settings, answers=answers, device=device)
            return store, wanted, rows, model, TokenStore.open_or_build(store, model.template)

        store, wanted, rows, model, tokens = distributed.first_on_each_machine(open_all)
        rescore_run(model, tokens, wanted, rows, store, output, known_scores=known_scores or ())
        if distributed.is_main():
            print(f"{output}: {len(wanted):,} questions, {int((rows >= 0).sum()):,} pairs")


@takes_retriever_settings
def diagnose(
    teacher: TeacherModel,
    passages: PassagesFile,
    questions: QuestionsFile,
    retriever: Annotated[
        str | None, typer.Option(help="Retriever or model that training would start from.")
    ] = None,
    index: Annotated[
        Path | None,
        typer.Option(help="Its index of the passages, by `art embed`; else they are embedded."),
    ] = None,
    prompt: Annotated[
        list[str] | None,
        typer.Option(help="Prompt with one {passage}; repeat it to compare others with the first."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings of a run: how long it would take; options here go before."),
    ] = None,
    num_questions: Annotated[
        int, typer.Option(min=1, help="At most so many questions, drawn at random.")
    ] = 100,
    depth: Annotated[
        int, typer.Option(min=2, help="Passages of each search that the teacher re-orders.")
    ] = 20,
    language: BM25Language = None,
    kind: Kind = None,
    reduction: Reduction = None,
    max_length: MaxLength = None,
    chat_template: ChatTemplate = False,
    dtype: TeacherType = None,
    batch_tokens: BatchTokens = None,
    skip_bad_rows: SkipBadRows = False,
    cpu: OnCpu = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Measure in minutes how good a teacher's order is, and what training with it would take."""
    from art import distributed, report
    from art.data.formats import read_questions
    from art.data.passages import PassageStore
    from art.data.tokens import PassageEncoder, TokenStore
    from art.diagnosis.candidates import choose_questions
    from art.diagnosis.diagnose import diagnose as run_diagnosis
    from art.diagnosis.scoring import kept_scores
    from art.errors import ArtError
    from art.files import cache_folder
    from art.planning.forecast import forecast_beside
    from art.planning.inventory import WhatIf
    from art.report.filling import FillingTable
    from art.retriever.loading import create_retriever
    from art.teacher.cached import CachedTeacher
    from art.teacher.registry import answers_for, load_teacher
    from art.training.methods import method_of
    from art.training.plan import check_corpus, plan_run, read_run_questions
    from art.training.settings import read_config

    if retriever is None and (index is not None or settings):
        raise ArtError(
            "an index or settings of a retriever, but no retriever", hint="name it: --retriever"
        )
    wanted = read_config(config) if config else None
    cache = Path(wanted.data.cache_folder) if wanted and wanted.data.cache_folder else None
    skip = skip_bad_rows or bool(wanted and wanted.data.skip_bad_rows)
    given = read_rows(read_questions, questions, skip_bad_rows=skip)
    asked = choose_questions(given, num_questions, seed=_SEED)
    if wanted and (not method_of(wanted).uses_teacher or wanted.teacher is None):
        raise ArtError(
            f"training.method {wanted.training.method} has no teacher to diagnose", where=config
        )
    base = wanted.teacher.model_dump() if wanted and wanted.teacher else {}
    prompts = [base.get("passage_prompt")]
    if prompt:
        prompts = [text_option(one, "--prompt") for one in prompt]
    of_teacher = _checked(
        teacher,
        base,
        kind=kind,
        passage_prompt=prompts[0],
        reduction=reduction,
        max_length=max_length,
        chat_template=chat_template or None,
        dtype=dtype,
        batch_tokens=batch_tokens,
    )
    answers = answers_for(of_teacher["kind"], asked, where=questions)
    student = wanted.towers.model_dump() if wanted else {}
    if retriever and retriever != student.get("model"):
        student["passage_model"] = None  # it belonged to the other model
    student |= settings
    planned = None
    if wanted:
        student["model"] = retriever or wanted.towers.model
        teaching = of_teacher | {"model": teacher, "passage_prompt": prompts[0]}
        planned = _changed(
            wanted, passages=str(passages), retriever=student, teacher=teaching, cpu=cpu
        )

    kept = kept_scores((cache or cache_folder()) / "scores")
    with processes(cpu) as device, kept as open_log:

        def open_corpus() -> tuple[PassageStore, Schedule | None]:
            store = PassageStore.open_or_build(passages, skip_bad_rows=skip, cache=cache)
            notify_skipped(store.bad_rows)
            if not planned:
                return store, None
            # What a run would refuse should not wait for the diagnosis.
            of_run = read_run_questions(planned)
            notify_skipped(of_run.bad_rows)
            schedule = plan_run(
                planned,
                num_questions=len(of_run.training),
                num_generated=of_run.num_generated,
                world_size=distributed.world_size(),
            )
            check_corpus(planned, len(store))
            return store, schedule

        store, schedule = distributed.first_on_each_machine(open_corpus)

        def tokens(template: PassageEncoder) -> TokenStore:
            return TokenStore.open_or_build(store, template, cache=cache)

        def load_prompted(passage_prompt: str | None) -> tuple[Teacher, TokenStore]:
            own = of_teacher | {"passage_prompt": passage_prompt}
            model = load_teacher(**own, answers=answers, device=device, cache=cache)
            return model, tokens(model.template)

        def open_teacher(passage_prompt: str | None) -> CachedTeacher:
            model, passage_tokens = distributed.first_on_each_machine(
                partial(load_prompted, passage_prompt)
            )
            return CachedTeacher(model, open_log(model.fingerprint), passage_tokens)

        def open_start() -> tuple[Retriever, TokenStore | Index] | None:
            if not retriever:
                return None
            model = create_retriever(**student | {"model": retriever}, cache=cache).to(device)
            say_what_is_cut(model, [question.text for question in asked])
            return model, open_index(index) if index else tokens(model.passage_template)

        start = distributed.first_on_each_machine(open_start)
        found = run_diagnosis(
            {one or "the prompt": partial(open_teacher, one) for one in prompts},
            store,
            asked,
            retriever=start,
            top_k=wanted.training.top_k if wanted else min(_PAPER_TOP_K, depth),
            depth=depth,
            language=language or (wanted.data.language if wanted else None),
            cache=cache,
            watcher=FillingTable(),
        )
        if distributed.is_main():
            print(f"{len(asked):,} of {len(given):,} questions, {len(store):,} passages")
            print(report.diagnosis(found))
            if planned and schedule:
                seconds = None
                if retriever:
                    seconds = forecast_beside(
                        planned,
                        WhatIf(),
                        world_size=distributed.world_size(),
                        pairs_per_second=found.pairs_per_second,
                    ).seconds
                num_questions = schedule.num_steps * schedule.questions_per_step
                print(report.hours(num_questions * planned.training.top_k, seconds, found))


def _changed(
    config: Config, *, passages: str, retriever: dict[str, Any], teacher: dict[str, Any], cpu: bool
) -> Config:
    """Return the settings of a run with what the command line says instead."""
    from art.training.settings import check_config

    document = config.model_dump(mode="json")
    document["data"]["passages"] = passages
    document["retriever"] |= retriever
    document["teacher"] |= teacher | {"known_scores": []}
    # Of the steps that the teacher has a part in
    document["training"] |= {"cpu": cpu, "labelled_share": 0.0}
    return check_config(document, source="command line")


def _checked(model: str, base: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Return a teacher's settings, those given on the command line before those of a base.

    Raises:
        ConfigFaults: the kind of teacher has no use for some.
    """
    from art.config import TeacherConfig
    from art.errors import ConfigFaults
    from art.teacher.registry import KINDS
    from art.training.settings import teacher_faults

    given = {name: value for name, value in options.items() if value is not None}
    if "kind" in given:
        given["kind"] = KINDS[given["kind"]].name
    settings = TeacherConfig.model_validate({**(base or {}), **given, "model": model})
    if faults := list(teacher_faults(settings)):
        raise ConfigFaults(faults)
    return settings.model_dump(exclude={"temperature", "known_scores"})
