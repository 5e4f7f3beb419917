"""`art train` and `art init`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from art.cli.common import BM25Language, PassagesFile
from art.errors import ArtError
from art.training.interruption import Interruption

if TYPE_CHECKING:
    from art.config import Stage
    from art.training.checkpoints import TrainingResult


def train(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", help="Settings, YAML.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and plan only.")] = False,
    passages: Annotated[int | None, typer.Option("--passages", min=1)] = None,
    questions: Annotated[int | None, typer.Option("--questions", min=1)] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=1)] = None,
) -> None:
    """Train a retriever: --config FILE [--section.key value ...]; --help lists all settings."""
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
    interruption = Interruption()
    with interruption.listening():
        _run(config, context.args, interruption)


def _run(config: Path, overrides: list[str], interruption: Interruption) -> None:
    from art.training.settings import read_stages

    stages = read_stages(config, overrides)
    from art import distributed
    from art.training.stages import train_stages

    try:
        train_stages(stages, begin=_announce, end=_tell, interruption=interruption)
    finally:
        distributed.stop()


def _announce(stage: Stage) -> None:
    if stage.name is not None:
        print(f"\nstage {stage.name}, in {stage.config.output.folder}")


def _tell(stage: Stage, result: TrainingResult, finished_before: bool) -> None:
    from art import report

    if finished_before:
        print("this run was finished before; its result:")
    print(f"{result.num_questions} questions; shares in %")
    print(report.metrics(_rows(result)))
    folder = Path(stage.config.output.folder)
    student = stage.config.student
    print(f"the {student} is in {folder / student}")
    print(f"curves and questions: art report {folder} --output report.html")
    print(_ending(result, folder))


def _rows(result: TrainingResult) -> dict[str, dict[str, float]]:
    """Return the rows of the table: before and after, and fused with BM25 where that is told."""
    before, after = "before training", f"after training (step {result.best_step})"
    if not result.beside:
        return {before: result.before, after: result.after}
    return {
        "BM25": result.beside["BM25"],
        before: result.before,
        f"{before}, fused": result.beside["before"],
        after: result.after,
        f"{after}, fused": result.beside["after"],
    }


def _ending(result: TrainingResult, folder: Path) -> str:
    """Return what the run was worth, in a line."""
    if result.verdict is None:
        if result.best_step:
            return f"step {result.best_step} is kept"
        return f"by {result.metric} no step was better than the start, which is kept"
    if result.verdict.keeps_start:
        last = folder / "last" / "retriever"
        return f"{result.verdict}: the start is kept (the last weights: {last})"
    return str(result.verdict)


def init(
    passages: PassagesFile,
    output: Annotated[Path, typer.Option(help="The settings to write; never overwritten.")],
    questions: Annotated[
        Path | None,
        typer.Option(help="Questions that people asked, of which there may be none."),
    ] = None,
    generated: Annotated[
        Path | None,
        typer.Option(
            help="Questions that `art ask` made; where none are given, those beside the settings."
        ),
    ] = None,
    language: BM25Language = None,
) -> None:
    """Write a commented settings file chosen for a corpus, its questions and this machine."""
    from art.files import write_text
    from art.planning.init_config import asking_command, init_config

    if output.exists():
        raise ArtError("exists already", where=output, hint="choose another name, or delete it")
    if questions is None and generated is None:
        generated = output.with_name(f"{output.stem}.questions.jsonl")
        if not generated.exists():
            command = asking_command(str(passages), generated)
            raise ArtError(
                "no questions are there yet",
                where=generated,
                hint=f"name yours with --questions; or have them asked by `{command}`, and then "
                "call this again",
            )
    settings = init_config(
        str(passages),
        output,
        questions=None if questions is None else str(questions),
        generated=None if generated is None else str(generated),
        language=language,
    )
    write_text(output, settings)
    print(f"{output} is written. What it will do, and for how long:\n")
    print(f"  art train --config {output} --dry-run\n")


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
    from art.training.settings import read_stages

    stages = read_stages(config, overrides)
    from art.planning import format as format_plan
    from art.planning.forecast import forecast
    from art.planning.inventory import WhatIf

    what_if = WhatIf(num_passages=passages, num_questions=questions, num_gpus=gpus)
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    start = stages[0].config.retriever
    for stage in stages:
        _announce(stage)
        print(format_plan.settings(stage.config, stage.origins), flush=True)
        settings = stage.config
        if not Path(settings.towers.model).exists():  # a stage before has yet to train it
            settings = settings.model_copy(update={"retriever": start})
        print()
        print(format_plan.plan(settings, forecast(settings, what_if, world_size=world_size)))


def _print_settings() -> None:
    import textwrap

    from art.config import fields
    from art.training.settings import choices

    named = choices().by_setting
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
        for one in named.get(dotted, {}).values():
            about = f"{one.name}: {one.description}"
            indent, deeper = " " * 8, " " * 10
            print(textwrap.fill(about, 96, initial_indent=indent, subsequent_indent=deeper))
