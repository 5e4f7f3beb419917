"""Declarations of what a run does with it: training, warm-up, evaluation, output."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from art.config.section import Files, Positive, Section, Share, StepIntervals


class TrainingConfig(Section):
    """The optimisation, with the paper's names and values (Sachan et al. 2023, section 3.4)."""

    method: str = Field(
        "art",
        description="What the steps learn from, by the name of a method.",
    )
    loss: str = Field(
        "kl",
        description="What makes the retriever's scores of a question's passages like the teacher's,"
        " by the name of a loss.",
    )
    labelled_share: Share = Field(
        0.0,
        description="Share of the steps of method art that are dpr steps on data.supervised, "
        "spread evenly. 0: none.",
    )
    generated_share: Annotated[float, Field(ge=0.0, le=1.0)] | None = Field(
        None,
        description="Share of each step's questions that are of data.generated, where "
        "data.questions are given too; drawn by the seed. An epoch is a pass over data.questions, "
        "with as many generated ones beside them. 0: none are; 1: all are, and data.questions only "
        "choose. Null: all that are given train, which are of one kind.",
    )
    hard_negatives: NonNegativeInt = Field(
        1,
        description="Hard negatives of each labelled question (DPR: 1 for NQ, 7 for TriviaQA); "
        "drawn anew in each epoch, fewer where a question has no more.",
    )
    positive: Literal["first", "random"] = Field(
        "first",
        description="Which positive of a labelled question: the file's first, as in DPR, "
        "or one drawn in each epoch (its reader).",
    )
    questions_per_step: PositiveInt = Field(
        64, description="G, questions per optimiser step over all processes (paper: 64 for NQ)."
    )
    questions_per_micro_batch: PositiveInt = Field(
        8,
        description="B, questions per backward pass: bounds memory and, being independent of the "
        "number of processes, fixes the result. Must divide questions_per_step.",
    )
    chunk_tokens: PositiveInt | None = Field(
        None,
        description="Padded tokens each tower, or a reader, takes with gradient at once; bounds "
        "memory whatever the batch, is independent of the number of processes, and costs a second "
        "forward pass. Null: a whole micro-batch.",
    )
    top_k: Annotated[int, Field(ge=2)] = Field(
        32, description="K, passages retrieved, scored and re-encoded per question (paper: 32)."
    )
    candidates: Literal["retriever", "bm25", "both"] = Field(
        "retriever",
        description="Who finds the K passages: the retriever (paper), BM25, or half from each, "
        "for encoders too weak to find anything at first.",
    )
    candidate_depth: PositiveInt | None = Field(
        None,
        description="Passages that are found per question, of which K are taken from all over the "
        "list, denser at its top: ranks 1, 2, 3, 6, 11 and 20 of 20 where K is 6. What is far away "
        "is scored too, at no more cost. Null: the K nearest, as in the paper.",
    )
    epochs: PositiveInt = Field(10, description="Passes over the questions (paper: 10).")
    max_steps: PositiveInt | None = Field(
        None, description="End after this many steps if that is sooner. Null: all epochs."
    )
    learning_rate: Positive = Field(2e-5, description="Peak learning rate (paper: 2e-5).")
    warmup_share: Share = Field(
        0.01, description="Share of all steps with linearly rising learning rate (paper: 0.01)."
    )
    weight_decay: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = Field(
        0.1, description="Decoupled decay of matrices; none on bias and normalisation (paper: 0.1)."
    )
    max_grad_norm: Positive = Field(1.0, description="Gradient clipping (paper: 1.0).")
    max_skipped_steps: Annotated[int, Field(ge=0)] = Field(
        5,
        description="Steps in a row that may be skipped because their gradient is not finite; one "
        "more ends the run. 0: the first ends it.",
        json_schema_extra={"harmless": True},
    )
    over_retrieve: PositiveInt = Field(
        1,
        description="The index finds so many times the passages wanted; the passage tower as it is "
        "now encodes them anew, and the nearest by these vectors are kept. Makes up for an index "
        "that is out of date, at that many passages encoded per question. 1: what the index "
        "finds, as in the paper.",
    )
    refresh_steps: StepIntervals = Field(
        500,
        description="R, steps between re-embeddings of the corpus (paper: 500); several as first "
        "step: interval, such as {0: 100, 1000: 500}. Where no step searches the index, it is "
        "refreshed for evaluations only.",
    )
    refresh_when_changed: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        None,
        description="Leave a refresh out where a smaller share of the top-K has changed: of what "
        "the index finds for the next step's questions, 2 K passages each are encoded anew. Before "
        "an evaluation that searches the corpus it is always made. Null: made every R steps, "
        "as in the paper.",
    )
    evaluate_steps: PositiveInt = Field(
        500, description="Steps between evaluations, a multiple of refresh_steps (paper: 500)."
    )
    save_steps: PositiveInt = Field(500, description="Steps between checkpoints (paper: 500).")
    log_steps: PositiveInt = Field(
        1,
        description="Steps between lines of metrics.jsonl.",
        json_schema_extra={"harmless": True},
    )
    seed: int = Field(1234, ge=0, description="Seed of order and dropout (paper: 1234).")
    cpu: bool = Field(False, description="Stay on the CPU where there is a GPU.")


class WarmupConfig(Section):
    """How training.method warmup makes pairs of the passages."""

    pairs: Literal["inverse-cloze", "crops"] = Field(
        "inverse-cloze",
        description="A sentence asks for the passage it stood in (Lee et al. 2019), or one crop of "
        "a passage for another (Contriever).",
    )
    keep_share: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.1,
        description="Share of the sentences that stay in their passage, so that words in common "
        "count too (Lee et al. 2019: 0.1). For inverse-cloze.",
    )


class EvaluationConfig(Section):
    """What tells the best checkpoint from the others."""

    questions: Files = Field(
        [],
        description="Questions to choose on. Answers or positive_passage_ids make the metric "
        "top-20 accuracy; without them it is the reciprocal rank of the passage that BM25 and "
        "the teacher agree on, half of the questions choose, and the others say whether "
        "the choice is better than the start, which is kept where it is not. Empty, like "
        "`supervised`: some of what is trained on is held out, 25 % of questions (16 to 200), 5 % "
        "of labelled ones or passages (16 to 500).",
    )
    supervised: Files = Field(
        [],
        description="Labelled questions with their passages to choose on, without a corpus: each "
        "is asked of the passages of all of them, and the metric is the mean reciprocal rank of "
        "its positive; DPR's average rank is told too. Questions with labels go first. A reader "
        "answers each from 50 of its own passages at most, and the metric is exact match.",
    )
    qrels: str | None = Field(
        None, description="Relevance judgements of those questions (BEIR .tsv or TREC)."
    )
    top_k: Annotated[list[PositiveInt], Field(min_length=1)] = Field(
        [1, 5, 20, 50, 100], description="Depths at which accuracy is reported."
    )
    regex_answers: bool = Field(
        False, description="Answers are regular expressions, as in CuratedTREC."
    )
    drop_self_hits: bool = Field(
        False,
        description="Leave out a passage whose id is its question's, as BEIR does.",
    )
    fused: bool = Field(
        False,
        description="Tell also what BM25 finds, and what the retriever and BM25 find together, at "
        "the beginning, at each evaluation and in the result. Needs questions with labels, and "
        "BM25's index of the corpus.",
    )
    patience: PositiveInt | None = Field(
        None, description="Stop after this many evaluations without a better one. Null: never."
    )


class OutputConfig(Section):
    """Where the run goes."""

    folder: str = Field(
        description="Run folder; an existing run of the same settings continues.",
        json_schema_extra={"harmless": True},
    )
    trackers: list[str] = Field(
        [],
        description="Trackers of accelerate, e.g. [tensorboard]; each needs its own package.",
        json_schema_extra={"harmless": True},
    )
