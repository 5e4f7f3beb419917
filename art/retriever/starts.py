"""What training starts from: the models a name stands for, and the settings they state themselves.

A folder of sentence-transformers states them all, half of a DPR pair its pooling, and any other
model nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import normalizers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from art import distributed
from art.errors import ConfigError, notify
from art.retriever import backbones
from art.retriever.projection import Projection, output_size, stacked
from art.retriever.sentence_transformers_folder import FolderPlan, TowerPlan, read_folder
from art.retriever.static import convert_packaged_table, load_table
from art.weights import (
    MODULES_FILE,
    PACKAGE_PREFIX,
    load_tokenizer,
    model_folder,
    resolve_model,
)

# Tokens of a text where a model sets no limit, as tables of word vectors do not.
UNLIMITED_LENGTH = 1 << 16
# Of both towers; lengths and prefixes may differ.
_SHARED = ("pooling", "normalize", "title_join", "append_eos", "projection_activations")


@dataclass(frozen=True)
class Start:
    """What one tower begins with.

    Attributes:
        name: of the model, as the user gave it.
        backbone: its encoder.
        tokenizer: of the encoder.
        projection: the model's own layers behind its pooling, if it has some.
        stated: the settings that the model states itself.
    """

    name: str
    backbone: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    projection: Projection | None
    stated: dict[str, Any]

    @property
    def projection_size(self) -> int | None:
        """The size of what its own projection gives; None without one."""
        return None if self.projection is None else output_size(self.projection)


def open_starts(
    models: Sequence[str],
    *,
    given: Mapping[str, Any],
    dropout: float | None,
    cache: Path | None,
) -> list[Start]:
    """Load what one model or two stand for.

    Args:
        models: that of both towers, or those of the question and the passage tower.
        given: the settings that were asked for.
        dropout: see `create_retriever`.
        cache: see `create_retriever`.

    Returns:
        One start for both towers, or one for each.

    Raises:
        ArtError: a model that cannot be loaded.
        ConfigError: models or settings that do not go together.
    """
    starts: list[Start] = []
    notes: list[str] = []
    tied = given.get("tied")
    for name, tower in zip(models, backbones.TOWERS[: len(models)], strict=True):
        source = resolve_model(name, cache=cache)
        if source.startswith(PACKAGE_PREFIX):
            package = source.removeprefix(PACKAGE_PREFIX)
            source = str(convert_packaged_table(package, cache=cache))
        folder = model_folder(source, MODULES_FILE)
        if folder is None:
            alone = len(models) == 1 and not tied
            starts.append(_plain(name, source, tower, dropout, alone=alone))
            continue
        plan = read_folder(folder)
        if len(plan.towers) > 1 and (tied or len(models) > 1):
            raise ConfigError(
                f"{name!r} has a tower for questions and another for passages",
                hint="leave passage_model null and tied null or false",
            )
        opened = [_planned(name, one, plan, dropout) for one in plan.towers]
        notes.append(_what_was_taken(name, opened, plan, given))
        starts += opened
    _check_same_kind(starts)
    if distributed.is_main():
        for note in notes:
            notify(note)
    return starts


def stated_by(starts: Sequence[Start], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that the starts state, as far as nothing else is given.

    Raises:
        ConfigError: the two towers would need different ones.
    """
    question, passage = starts[0].stated, starts[-1].stated
    for name in _SHARED:
        both = question.get(name), passage.get(name)
        if name not in given and name in question and name in passage and both[0] != both[1]:
            raise ConfigError(
                f"{' and '.join(repr(one.name) for one in starts)} differ in {name}:"
                f" {both[0]} and {both[1]}",
                hint="both towers share it",
            )
    of_questions = {name: value for name, value in question.items() if "passage" not in name}
    return passage | of_questions


def _plain(
    name: str, source: str, tower: backbones.TowerName, dropout: float | None, *, alone: bool
) -> Start:
    config = backbones.load_config(source, dropout=dropout)
    stated: dict[str, Any] = {}
    if config.model_type == "dpr":
        if alone:
            raise ConfigError(
                f"{name!r} is one half of a DPR pair",
                hint="name the other half, its context encoder, as passage_model",
            )
        stated = {"pooling": "cls", "normalize": False}
    return Start(
        name,
        backbones.load_backbone(source, config, tower=tower),
        load_tokenizer(source),
        backbones.load_projection(source, config, tower=tower),
        stated,
    )


def _planned(name: str, tower: TowerPlan, plan: FolderPlan, dropout: float | None) -> Start:
    folder = tower.folder
    if tower.is_table:
        backbone, tokenizer = load_table(folder / "model.safetensors", folder / "tokenizer.json")
        backbones.set_dropout(backbone.config, name, dropout)
    else:
        config = backbones.load_config(str(folder), dropout=dropout)
        backbone = backbones.load_backbone(str(folder), config, tower="question")
        tokenizer = load_tokenizer(folder)
    if tower.lower_case:
        _lower_case(tokenizer)
    plain = tower.activations in ((), ("identity",))
    stated = {
        "pooling": tower.pooling,
        "normalize": tower.normalize,
        "question_length": _length(tower.question_length, tower, backbone, tokenizer),
        "passage_length": _length(tower.passage_length, tower, backbone, tokenizer),
        "question_prefix": plan.question_prefix or "",
        "passage_prefix": plan.passage_prefix or "",
        "title_join": "space",
        "append_eos": False,  # the tokenizer's own template has the say
        # One linear layer alone is the ordinary projection.
        "projection_activations": () if plain else tower.activations,
    }
    projection = stacked(tower.layers, tower.activations) if tower.layers else None
    return Start(name, backbone, tokenizer, projection, stated)


def _lower_case(tokenizer: PreTrainedTokenizerBase) -> None:
    backend = tokenizer.backend_tokenizer
    own = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def _length(
    written: int | None,
    tower: TowerPlan,
    backbone: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> int:
    """Return the tokens of a text: what is written, else the tokenizer's, as far as they fit."""
    longest = written or (UNLIMITED_LENGTH if tower.is_table else tokenizer.model_max_length)
    positions = backbones.num_positions(backbone) or UNLIMITED_LENGTH
    return int(min(longest, positions, UNLIMITED_LENGTH))


def _check_same_kind(starts: Sequence[Start]) -> None:
    names = " and ".join(dict.fromkeys(repr(one.name) for one in starts))
    sizes = {(one.backbone.config.hidden_size, one.projection_size) for one in starts}
    if len(sizes) > 1:
        raise ConfigError(f"{names} have vectors of different sizes")
    first, last = starts[0].tokenizer, starts[-1].tokenizer
    if first.get_vocab() != last.get_vocab():
        raise ConfigError(
            f"{names} have different vocabularies", hint="both towers read the same token ids"
        )
    if first("a").input_ids != last("a").input_ids:
        raise ConfigError(
            f"{names} have towers that put different special tokens around a text",
            hint="both towers read the same token ids",
        )


def _what_was_taken(
    name: str, starts: Sequence[Start], plan: FolderPlan, given: Mapping[str, Any]
) -> str:
    """Return in one line what a folder states, but for what something else is given for."""
    question, passage = starts[0].stated, starts[-1].stated
    tower = plan.towers[0]
    normalised = "" if tower.normalize else "not "
    sizes = [layer.out_features for layer in tower.layers]
    layers = [f"{size} {name}" for size, name in zip(sizes, tower.activations, strict=True)]
    words = {
        "tied": "two towers" if len(starts) > 1 else "",
        "pooling": f"pooling {tower.pooling}",
        "projection_size": f"projection {' '.join(layers)}" if layers else "",
        "normalize": f"{normalised}normalised",
        "question_length": f"questions of {question['question_length']:,} tokens",
        "passage_length": f"passages of {passage['passage_length']:,} tokens",
        "lower_case": "lower-cased" if tower.lower_case else "",
        "title_join": "title and text joined by a space",
        "question_prefix": f"question prefix {plan.question_prefix!r}",
        "passage_prefix": f"passage prefix {plan.passage_prefix!r}",
    }
    if plan.question_prefix is None and plan.passage_prefix is None:
        words["question_prefix"] = (
            "no prompts (retriever.question_prefix and retriever.passage_prefix set them)"
        )
        words["passage_prefix"] = ""
    if plan.compares_by_cosine and not tower.normalize:
        words["normalize"] += (
            " (its library compares them by cosine, as retriever.normalize: true would)"
        )
    taken = [said for setting, said in words.items() if said and setting not in given]
    return f"from the folder of {name}: {', '.join(taken)}"
