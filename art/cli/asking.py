"""`art ask`: questions about passages, for who has none."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from art.cli.common import (
    BM25Language,
    OnCpu,
    PassagesFile,
    SkipBadRows,
    notify_skipped,
    processes,
    read_rows,
)
from art.cli.scoring import BatchTokens, MaxLength, TeacherType
from art.errors import ArtError, notify_once

if TYPE_CHECKING:
    import torch

    from art.asking.asker import AskedQuestion, Asker
    from art.asking.keeping import Sieve
    from art.asking.kinds import QuestionKind
    from art.asking.sampling import Sampling
    from art.data.passages import PassageStore
    from art.mining import Search
    from art.retriever.encoders import Retriever
    from art.teacher.likelihood import LikelihoodTeacher


def ask(
    model: Annotated[
        str,
        typer.Option(help="Frozen T5-like or decoder-only language model: name, folder, pip:NAME."),
    ],
    passages: PassagesFile,
    output: Annotated[
        Path, typer.Option(help="Questions, .jsonl; a killed job goes on beside it.")
    ],
    per_passage: Annotated[
        int, typer.Option(min=1, help="Questions of each kind about a passage.")
    ] = 2,
    kinds: Annotated[
        str, typer.Option(help="Of question, comma-separated: question, keywords, claim.")
    ] = "question",
    examples: Annotated[
        Path | None,
        typer.Option(help="Questions of your own, of which the model is shown three a passage."),
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option(help="Of your own, for the page alone, which compares; else --examples."),
    ] = None,
    num_passages: Annotated[
        int | None, typer.Option(min=1, help="At most so many passages, drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn.")] = 0,
    temperature: Annotated[
        float, typer.Option(min=0, help="Of the model's softmax; 0 for what is most likely.")
    ] = 0.7,
    top_p: Annotated[
        float, typer.Option(min=0, max=1, help="Tokens that have this probability together.")
    ] = 0.95,
    max_length: MaxLength = None,
    chat_template: Annotated[
        bool | None,
        typer.Option(
            "--chat-template/--no-chat-template", help="Used where the model has one and not."
        ),
    ] = None,
    dtype: TeacherType = None,
    batch_tokens: BatchTokens = None,
    retriever: Annotated[
        str | None,
        typer.Option(help="The start that must find the passage; an installed small one."),
    ] = None,
    language: BM25Language = None,
    max_teacher_pairs: Annotated[
        int, typer.Option(min=0, help="The model judges so many pairs at most; 0 for none.")
    ] = 10_000,
    skip_bad_rows: SkipBadRows = False,
    cpu: OnCpu = False,
) -> None:
    """Have a frozen language model ask questions about passages, and keep those worth training on.

    A kept question leads back to its passage; the others are in a second file, with the reason. A
    page shows some of both; the same command draws it again once the questions are there.
    """
    from art import distributed
    from art.asking.filters import TextFilter
    from art.asking.job import ask_all, choose_rows, prompts_of
    from art.asking.keeping import rejected_path, write_questions
    from art.asking.kinds import QUESTION_KINDS
    from art.asking.sampling import Sampling
    from art.data.passages import PassageStore
    from art.files import lock
    from art.retriever.languages import check_language

    if output.suffix.lower() != ".jsonl":
        raise ArtError("questions are written as JSON lines", where=output, hint="end it in .jsonl")
    if output.exists() and not rejected_path(output).exists():  # of something else
        raise ArtError("exists already", where=output, hint="choose another name, or delete it")
    wanted = [QUESTION_KINDS[name] for name in dict.fromkeys(map(str.strip, kinds.split(",")))]
    if per_passage > 1 and not (temperature and top_p):
        raise ArtError(
            f"asked without chance, {per_passage} questions about a passage are all the same",
            hint="--per-passage 1, or --temperature and --top-p above 0",
        )
    if language is not None:
        check_language(language)  # it is needed once all questions are asked
    shown, compared = (_own(file, skip_bad_rows) for file in (examples, questions))
    folder = output.with_name(f"{output.name}.asking")
    with processes(cpu) as device, ExitStack() as held:
        if distributed.broadcast_object(output.exists()):
            with distributed.fail_together():
                if distributed.is_main():
                    print(f"{output} exists already: nothing is asked (delete it for that)")
                    _draw(output, compared or shown, seed)
                    _say_how_to_train(passages, questions or examples, output)
            return
        rendered = None
        with distributed.fail_together():
            if distributed.is_main():
                holder = "another job that writes this output"
                held.enter_context(lock(folder / ".lock", wait=False, holder=holder))
                rendered = prompts_of(folder)
        rendered = distributed.broadcast_object(rendered)
        with distributed.fail_together():
            store = PassageStore.open_or_build(
                passages, skip_bad_rows=skip_bad_rows, progress=distributed.is_main()
            )
            notify_skipped(store.bad_rows)
            asker, teacher = _asker(
                model,
                wanted,
                shown,
                Sampling(seed=seed, temperature=temperature, top_p=top_p),
                per_passage=per_passage,
                max_length=max_length or 512,
                chat_template=chat_template,
                rendered=rendered,
                dtype=dtype or "auto",
                batch_tokens=batch_tokens,
                device=device,
            )
            start = _start(retriever, device)  # what it lacks should not wait for the questions
        rows = choose_rows(len(store), num_passages, seed=seed)
        asked = ask_all(asker, store, rows, folder)
        sieve = _sifted(
            asked,
            store,
            folder,
            texts=TextFilter(wanted, asker.prompts.texts),
            examples=shown,
            searches=_searches(store, start, language, folder),
            teacher=teacher,
            max_pairs=max_teacher_pairs,
            seed=seed,
        )
        with distributed.fail_together():
            if distributed.is_main():
                write_questions(sieve, store, output)
                _tell(sieve, output)
                _draw(output, compared or shown, seed)
    if distributed.is_main():
        shutil.rmtree(folder, ignore_errors=True)
        _say_how_to_train(passages, questions or examples, output)


def _own(file: Path | None, skip_bad_rows: bool) -> list[str]:
    """Return the distinct questions of a file, none where there is none."""
    from art.data.formats import read_questions

    if file is None:
        return []
    read = read_rows(read_questions, file, skip_bad_rows=skip_bad_rows)
    return list(dict.fromkeys(one.text for one in read))


def _asker(
    model: str,
    kinds: list[QuestionKind],
    examples: list[str],
    sampling: Sampling,
    *,
    per_passage: int,
    max_length: int,
    chat_template: bool | None,
    rendered: dict[str, str] | None,
    dtype: str,
    batch_tokens: int | None,
    device: torch.device,
) -> tuple[Asker, LikelihoodTeacher]:
    """Load a language model, which is to ask and then to judge."""
    from art.asking.asker import Asker
    from art.asking.prompts import Prompts
    from art.teacher.kinds.question_likelihood import QuestionLikelihood
    from art.weights import load_tokenizer, resolve_model

    teacher = QuestionLikelihood.load(model, dtype=dtype, max_length=max_length, device=device)
    tokenizer = load_tokenizer(resolve_model(model), model)
    if chat_template is None:
        chat_template = teacher.family == "causal" and bool(tokenizer.chat_template)
    prompts = Prompts(
        tokenizer,
        kinds,
        family=teacher.family,
        max_length=max_length,
        chat_template=chat_template,
        rendered=rendered,
        examples=examples,
        seed=sampling.seed,
    )
    asker = Asker(
        teacher,
        tokenizer,
        kinds,
        per_passage=per_passage,
        prompts=prompts,
        sampling=sampling,
        batch_tokens=batch_tokens,
    )
    return asker, teacher


def _start(name: str | None, device: torch.device) -> Retriever | None:
    """Load the retriever that questions are searched with; None where none is there."""
    from art.planning.init_config import installed_encoder
    from art.retriever.loading import create_retriever
    from art.teacher.models import automatic_dtype

    name = name or installed_encoder()
    if name is None:
        notify_once("no --retriever is given: questions are searched for by words alone")
        return None
    is_fast = automatic_dtype(device) == "bfloat16"
    return create_retriever(name, dtype="bfloat16" if is_fast else None).to(device)


def _searches(
    store: PassageStore, start: Retriever | None, language: str | None, folder: Path
) -> dict[str, Search]:
    """Return the searches that must find a question's passage, by name."""
    from art import distributed
    from art.data.tokens import TokenStore
    from art.mining import bm25_search, retriever_search
    from art.retriever.bm25 import BM25
    from art.retriever.embedding import embed_passages
    from art.retriever.searcher import IndexSearcher

    with distributed.fail_together():
        searches = {"BM25": bm25_search(BM25.build(store, language=language))}
        if start is None:
            return searches
        tokens = TokenStore.open_or_build(store, start.passage_template)
    index = embed_passages(start, tokens, folder / "index", store=store)
    return searches | {"the start": retriever_search(start, IndexSearcher(index, start.device))}


def _sifted(
    asked: list[AskedQuestion],
    store: PassageStore,
    folder: Path,
    *,
    teacher: LikelihoodTeacher,
    max_pairs: int,
    **others: Any,
) -> Sieve:
    from art import distributed
    from art.asking.keeping import sift
    from art.asking.round_trip import preferred
    from art.data.tokens import TokenStore

    with distributed.fail_together():
        tokens = TokenStore.open_or_build(store, teacher.template)
    judge = partial(preferred, teacher, tokens, folder=folder, progress=True)
    return sift(asked, store, judge=judge if max_pairs else None, max_pairs=max_pairs, **others)


def _tell(sieve: Sieve, output: Path) -> None:
    """Print how many questions each filter took."""
    from art.asking.keeping import rejected_path

    total = len(sieve.questions)

    def line(count: int, what: str) -> str:
        return f"{count:>9,}  {100 * count / total:5.1f} %  {what}"

    print(line(total, "asked"))
    for reason, count in sieve.counts().items():
        print(line(count, reason))
    print(line(len(sieve.kept), f"kept, in {output}"))
    if sieve.num_unjudged:
        print(
            f"note: of those kept, the model was not asked about {sieve.num_unjudged:,} "
            "(--max-teacher-pairs)"
        )
    if sieve.reasons:
        print(f"the others, with the reasons, are in {rejected_path(output)}")


def _draw(output: Path, real: list[str], seed: int) -> None:
    """Write the page about the questions, and say why it is to be read."""
    from art.files import write_text
    from art.report.asked import page_path, render_asked

    write_text(page_path(output), render_asked(output, real, seed=seed))
    print(
        "note: the same model wrote and judged them, and generated questions are unlike those that "
        f"people ask: read some before you train, in {page_path(output)}"
    )


def _say_how_to_train(passages: Path, own: Path | None, output: Path) -> None:
    """Print the command that comes next.

    Raises:
        ArtError: no question was kept.
    """
    import shlex

    from art.report.asked import page_path

    if output.stat().st_size == 0:
        raise ArtError(
            "none of the questions was kept",
            where=output,
            hint=f"see why in {page_path(output)}; then delete it and choose another --model",
        )
    settings = output.with_suffix("").with_suffix(".yaml")  # mine.questions.jsonl → mine.yaml
    words = ["art", "init", "--passages", passages, *(["--questions", own] if own else [])]
    words += ["--generated", output, "--output", settings]
    print(f"to train on them: {shlex.join(map(str, words))}")
