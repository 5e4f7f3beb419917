"""The commands of the scorer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from art.cli.common import OnCpu, PassagesFile, QuestionsFile, processes

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


def _given(**settings: Any) -> dict[str, Any]:
    """Return the settings that were given on the command line."""
    return {name: value for name, value in settings.items() if value is not None}
