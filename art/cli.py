"""The command line. Whatever is heavy is imported inside the command that needs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from art.errors import ArtError, MismatchError

if TYPE_CHECKING:
    import torch

    from art.data.passages import PassageStore
    from art.retriever.encoders import Retriever
    from art.retriever.index import Index

app = typer.Typer(
    name="art",
    help="Train dense retrievers from questions alone, with a frozen language model as teacher.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

VectorType = Literal["float32", "float16"]
RetrieverFolder = Annotated[
    str, typer.Option("--retriever", help="A retriever's folder, or any model to start from.")
]
IndexFolder = Annotated[Path, typer.Option("--index", help="An index that `art embed` made.")]
QuestionsFile = Annotated[
    Path, typer.Option("--questions", help="Questions: .txt, .jsonl, DPR .csv, or a BEIR folder.")
]
PassagesOverride = Annotated[
    Path | None,
    typer.Option("--passages", help="The corpus, where it is not where the index found it."),
]
OnCpu = Annotated[bool, typer.Option("--cpu", help="Stay on the CPU where there is a GPU.")]


def main() -> None:
    """Run the command line; what a user can mend is one line on stderr and exit status 1."""
    try:
        app()
    except ArtError as error:
        if not error.told_elsewhere:
            print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from art import __version__

        print(f"art-retriever {__version__}")
        raise typer.Exit


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        # `--help` is answered below: it lists every setting, and reading those costs a moment that
        # `art --help` should not pay.
        "help_option_names": [],
    }
)
def train(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", help="Settings, YAML.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and plan only.")] = False,
    passages: Annotated[int | None, typer.Option("--passages", min=1)] = None,
    questions: Annotated[int | None, typer.Option("--questions", min=1)] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=1)] = None,
) -> None:
    """Train a retriever: --config FILE [--section.key value …]; --help lists all settings."""
    if "--help" in context.args or "-h" in context.args:
        _print_settings()
        return
    if config is None:
        raise ArtError("--config is missing", hint="art train --config FILE [--section.key value]")
    if dry_run:
        _plan_run(config, context.args, passages=passages, questions=questions, gpus=gpus)
        return
    if (passages, questions, gpus) != (None, None, None):
        raise ArtError(
            "--passages, --questions and --gpus are numbers to plan with",
            hint="add --dry-run; the files are data.passages and data.questions",
        )
    from art.config import read_config

    settings = read_config(config, context.args)
    from art import distributed, report
    from art.training.loop import train as run_training

    try:
        result = run_training(settings)
        if distributed.is_main():
            names = {"before training": result.before}
            names[f"after training (step {result.best_step})"] = result.after
            print(f"{result.num_questions} questions; shares in %")
            print(report.figures(names))
            if result.best_step == 0:
                print(f"by {result.figure} no step was better than the start, which is kept")
            print(f"the retriever is in {Path(settings.output.folder) / 'retriever'}")
    finally:
        distributed.stop()


@app.command()
def init(
    passages: Annotated[Path, typer.Option(help="Corpus: .tsv, .jsonl, a BEIR folder; or .gz.")],
    questions: QuestionsFile,
    output: Annotated[Path, typer.Option(help="The settings to write; never overwritten.")],
) -> None:
    """Write a commented settings file chosen for a corpus, its questions and this machine."""
    from art.files import write_text
    from art.training.starter import starter_config

    if output.exists():
        raise ArtError("exists already", where=output, hint="choose another name, or delete it")
    write_text(output, starter_config(str(passages), str(questions), output))
    print(f"{output} is written. What it will do, and for how long:\n")
    print(f"  art train --config {output} --dry-run\n")


@app.command()
def embed(
    retriever: RetrieverFolder,
    passages: Annotated[Path, typer.Option(help="Corpus: .tsv, .jsonl, a BEIR folder; or .gz.")],
    output: Annotated[Path, typer.Option(help="Folder of the index; a killed job goes on there.")],
    dtype: Annotated[VectorType, typer.Option(help="Precision of the stored vectors.")] = "float32",
    batch_tokens: Annotated[int, typer.Option(help="Padded tokens embedded at once.")] = 16_384,
    cpu: OnCpu = False,
) -> None:
    """Embed a corpus with a retriever's passage tower into a searchable index."""
    from art import distributed
    from art.data.passages import PassageStore
    from art.data.tokens import TokenStore
    from art.retriever.embedding import embed_passages
    from art.retriever.loading import create_retriever

    with _processes(cpu) as device:
        with distributed.fail_together():
            model = create_retriever(retriever).to(device)
            store = PassageStore.open_or_build(passages)
            tokens = TokenStore.open_or_build(store, model.passage_template)
        index = embed_passages(
            model, tokens, output, store=store, dtype=dtype, batch_tokens=batch_tokens
        )
        if distributed.is_main():
            print(f"{output}: {len(store):,} passages, {index.embedding_size} dimensions, {dtype}")


@app.command()
def search(
    retriever: RetrieverFolder,
    index: IndexFolder,
    questions: QuestionsFile,
    output: Annotated[
        Path, typer.Option(help="Result file: .trec for a TREC run, .json for DPR's format.")
    ],
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Passages per question.")] = 100,
    passages: PassagesOverride = None,
    cpu: OnCpu = False,
) -> None:
    """Search an index with a file of questions and write the results."""
    from art import distributed
    from art.data.formats import read_questions
    from art.evaluation.runs import run_format, write_run

    run_format(output)  # a search takes minutes; a wrong ending should not wait for it
    asked = read_questions(questions)
    with _processes(cpu) as device:
        model, opened, store = _open(retriever, index, passages, device)
        with distributed.fail_together():
            if distributed.is_main():
                vectors = model.embed_questions([question.text for question in asked])
                scores, rows = opened.search(vectors, top_k)
                write_run(output, asked, rows, scores, store)
                print(f"{output}: {len(asked):,} questions, {rows.shape[1]} passages each")


@app.command()
def evaluate(
    retriever: RetrieverFolder,
    index: IndexFolder,
    questions: QuestionsFile,
    qrels: Annotated[
        Path | None, typer.Option(help="Relevance judgements: BEIR .tsv or TREC.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the figures here as JSON.")] = None,
    regex_answers: Annotated[
        bool, typer.Option("--regex-answers", help="Answers are regular expressions (TREC).")
    ] = False,
    drop_self_hits: Annotated[
        bool, typer.Option("--drop-self-hits", help="Ignore a hit with the question's id (BEIR).")
    ] = False,
    passages: PassagesOverride = None,
    cpu: OnCpu = False,
) -> None:
    """Search an index with labelled questions and print how good the results are."""
    from art import distributed, report
    from art.data.formats import read_qrels, read_questions
    from art.evaluation.evaluate import evaluate as run_evaluation
    from art.files import write_json

    asked = read_questions(questions)
    judgements = read_qrels(qrels) if qrels else None
    with _processes(cpu) as device:
        model, opened, store = _open(retriever, index, passages, device)
        result = run_evaluation(
            model,
            opened,
            store,
            asked,
            qrels=judgements,
            regex_answers=regex_answers,
            drop_self_hits=drop_self_hits,
        )
        with distributed.fail_together():
            if distributed.is_main():
                print(report.evaluation(result.table(), result.notes))
                if output:
                    provenance = {
                        "questions": str(questions),
                        "retriever": retriever,
                        "retriever_fingerprint": opened.retriever_fingerprint,
                        "passages_fingerprint": store.fingerprint,
                        "made_by": opened.manifest.provenance,
                    }
                    figures = {"figures": result.figures, "table": result.table()}
                    write_json(output, {**figures, "notes": result.notes, **provenance})


@app.command()
def demo(
    output: Annotated[
        Path, typer.Option(help="Run folder; a killed demonstration goes on.")
    ] = Path("runs/demo"),
) -> None:
    """Train on Python's own documentation, from questions alone: minutes, no download."""
    from art.demo.run import run_demo

    run_demo(output)


def _plan_run(
    config: Path,
    overrides: list[str],
    *,
    passages: int | None,
    questions: int | None,
    gpus: int | None,
) -> None:
    import os

    if int(os.environ.get("RANK", "0")):
        return  # a launcher started several; one of them is enough to plan
    os.environ["HF_HUB_OFFLINE"] = "1"  # a plan downloads nothing
    from art.config import read_config_with_origins

    settings, origins = read_config_with_origins(config, overrides)
    from art.training import telling
    from art.training.at_hand import WhatIf
    from art.training.forecast import forecast

    print(telling.settings(settings, origins), flush=True)
    what_if = WhatIf(num_passages=passages, num_questions=questions, num_gpus=gpus)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    print()
    print(telling.plan(settings, forecast(settings, what_if, world_size=world_size)))


@contextmanager
def _processes(cpu: bool) -> Iterator[torch.device]:
    """Join the other processes, if a launcher started several, and leave them at the end."""
    from art import distributed

    try:
        yield distributed.start(cpu=cpu)
    finally:
        distributed.stop()


def _open(
    retriever: str, index: Path, passages: Path | None, device: torch.device
) -> tuple[Retriever, Index, PassageStore]:
    """Open what belongs together: the retriever, the index it built, and the index's passages."""
    from art import distributed
    from art.data.passages import PassageStore
    from art.retriever.index import Index
    from art.retriever.loading import create_retriever

    with distributed.fail_together():
        model = create_retriever(retriever).to(device)
        opened = Index.open(index, retriever_fingerprint=model.fingerprint())
        if passages is None and not opened.store_folder.exists():
            raise ArtError(
                "the passages of this index are no longer where they were",
                where=opened.store_folder,
                hint="name the corpus with --passages",
            )
        store = PassageStore.open_or_build(passages or opened.store_folder)
        if store.fingerprint != opened.store_fingerprint:
            raise MismatchError(
                f"the index holds passages {opened.store_fingerprint}, but these are "
                f"{store.fingerprint}",
                where=passages or opened.store_folder,
                hint="name the corpus the index was made of with --passages",
            )
    return model, opened, store


def _print_settings() -> None:
    import textwrap

    from art.config import fields

    print("Usage: art train --config FILE [--section.key value …]\n")
    print(
        "Every setting of the file can be overridden; several processes: accelerate launch -m art\n"
        "--dry-run checks everything and tells steps, hours, memory and disk without training;\n"
        "with --passages N, --questions N, --gpus N for what is not here yet"
    )
    section = ""
    for dotted, sentence, default in fields():
        if dotted.partition(".")[0] != section:
            section = dotted.partition(".")[0]
            print(f"\n{section}:")
        shown = "required" if default is ... else f"default {default!r}"
        print(f"  --{dotted}  ({shown})")
        print(textwrap.fill(sentence, 96, initial_indent="      ", subsequent_indent="      "))
