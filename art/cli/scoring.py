"""The commands of the scorer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from art.cli.common import OnCpu, PassagesFile, QuestionsFile, processes

_SEED = 1234  # of the questions drawn
_PAPER_TOP_K = 32

ScorerModel = Annotated[
    str,
    typer.Option("--scorer", help="Frozen T5-like or decoder-only language model: name or folder."),
]
ScorerType = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"] | None,
    typer.Option("--dtype", help="Precision of the scorer; auto where not given."),
]
Reduction = Annotated[
    Literal["mean", "sum"] | None,
    typer.Option(help="Of the question's token log-probabilities: mean (ART), sum (UPR)."),
]
MaxLength = Annotated[int | None, typer.Option(min=1, help="Tokens of the prompt; 512.")]
ChatTemplate = Annotated[
    bool, typer.Option("--chat-template", help="Put the prompt through the model's chat template.")
]
BatchTokens = Annotated[
    int | None, typer.Option(min=1, help="Padded tokens scored at once; the device's own.")
]


def score(
    scorer: ScorerModel,
    passages: PassagesFile,
    questions: QuestionsFile,
    run: Annotated[Path, typer.Option(help="Results to re-order: DPR's .json, .jsonl; a .trec.")],
    output: Annotated[
        Path, typer.Option(help="Result file, .json or .trec; a killed job goes on beside it.")
    ],
    prompt: Annotated[
        str | None, typer.Option(help="Prompt with one {passage}; the paper's where not given.")
    ] = None,
    reduction: Reduction = None,
    max_length: MaxLength = None,
    chat_template: ChatTemplate = False,
    dtype: ScorerType = None,
    batch_tokens: BatchTokens = None,
    cpu: OnCpu = False,
) -> None:
    """Put anybody's results into the order of a frozen language model, without any training."""
    from art import distributed
    from art.data.formats import read_questions
    from art.data.passages import PassageStore
    from art.data.tokens import TokenStore
    from art.evaluation.rescoring import match_run, rescore_run
    from art.evaluation.runs import read_run, run_format
    from art.scorer.likelihood import load_scorer

    run_format(output)  # scoring takes long; a wrong ending should not wait for it
    found, asked = read_run(run), read_questions(questions)
    settings = _given(
        passage_prompt=prompt,
        reduction=reduction,
        max_length=max_length,
        chat_template=chat_template or None,
        dtype=dtype,
        batch_tokens=batch_tokens,
    )
    with processes(cpu) as device:
        with distributed.fail_together():
            store = PassageStore.open_or_build(passages, progress=distributed.is_main())
            wanted, rows = match_run(found, asked, store, where=run)
            model = load_scorer(scorer, device=device, **settings)
            tokens = TokenStore.open_or_build(store, model.template, progress=distributed.is_main())
        rescore_run(model, tokens, wanted, rows, store, output)
        if distributed.is_main():
            print(f"{output}: {len(wanted):,} questions, {int((rows >= 0).sum()):,} pairs")


def diagnose(
    scorer: ScorerModel,
    passages: PassagesFile,
    questions: QuestionsFile,
    retriever: Annotated[
        str | None, typer.Option(help="Retriever or model that training would start from.")
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
    reduction: Reduction = None,
    max_length: MaxLength = None,
    chat_template: ChatTemplate = False,
    dtype: ScorerType = None,
    batch_tokens: BatchTokens = None,
    cpu: OnCpu = False,
) -> None:
    """Find out in minutes what a scorer could teach, and what training with it would take."""
    from art import distributed, report
    from art.config import read_config
    from art.data.formats import read_questions
    from art.data.passages import PassageStore
    from art.data.prompts import PAPER_PASSAGE_PROMPT
    from art.data.tokens import PassageEncoder, TokenStore
    from art.diagnosis import Work, choose_questions
    from art.diagnosis import diagnose as run_diagnosis
    from art.errors import ArtError
    from art.retriever.loading import create_retriever
    from art.scorer.cache import CachedScorer
    from art.scorer.likelihood import load_scorer
    from art.training.plan import plan_run, read_run_questions

    wanted = read_config(config) if config else None
    cache = Path(wanted.data.cache_folder) if wanted and wanted.data.cache_folder else None
    given = read_questions(questions)
    asked = choose_questions(given, num_questions, seed=_SEED)
    settings = {}
    if wanted:
        if wanted.training.method != "art" or wanted.scorer is None:
            raise ArtError(
                f"training.method {wanted.training.method} has no teacher to diagnose", where=config
            )
        settings = wanted.scorer.model_dump(exclude={"model", "temperature"})
    settings |= _given(
        reduction=reduction,
        max_length=max_length,
        chat_template=chat_template or None,
        dtype=dtype,
        batch_tokens=batch_tokens,
    )
    prompts = prompt or [settings.get("passage_prompt") or PAPER_PASSAGE_PROMPT]
    student = wanted.retriever.model_dump() if wanted else {}
    if retriever != student.get("model"):
        student["passage_model"] = None  # it belonged to the other model
    schedule = None
    if wanted:
        own = {"training": wanted.training.model_copy(update={"labelled_share": 0.0})}
        schedule = plan_run(  # of the steps that the teacher has a part in
            wanted.model_copy(update=own),
            num_questions=len(read_run_questions(wanted).training),
            world_size=1,
        )

    with processes(cpu) as device:
        progress = distributed.is_main()
        with distributed.fail_together():
            store = PassageStore.open_or_build(passages, cache=cache, progress=progress)

        def tokens(template: PassageEncoder) -> TokenStore:
            return TokenStore.open_or_build(store, template, cache=cache, progress=progress)

        def open_scorer(passage_prompt: str) -> CachedScorer:
            with distributed.fail_together():
                own = settings | {"passage_prompt": passage_prompt}
                model = load_scorer(scorer, device=device, cache=cache, **own)
                return CachedScorer(model, None, tokens(model.template))

        start = None
        with distributed.fail_together():
            if retriever:
                student["model"] = retriever
                model = create_retriever(**student, cache=cache).to(device)
                start = model, tokens(model.passage_template)
        found = run_diagnosis(
            {one: partial(open_scorer, one) for one in prompts},
            store,
            asked,
            retriever=start,
            top_k=wanted.training.top_k if wanted else _PAPER_TOP_K,
            cache=cache,
        )
        if distributed.is_main():
            print(f"{len(asked):,} of {len(given):,} questions, {len(store):,} passages")
            print(report.diagnosis(found))
            if wanted and schedule:
                top_k = wanted.training.top_k
                work = Work.of(schedule, top_k=top_k, num_passages=len(store))
                print(report.hours(work, found))


def _given(**settings: Any) -> dict[str, Any]:
    """Return the settings that were given on the command line."""
    return {name: value for name, value in settings.items() if value is not None}
