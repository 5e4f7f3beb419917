"""Where a retriever comes from: a folder of ours, any Hugging Face model, a DPR pair, word vectors.

Every setting left at None is the folder's own where `model` is a retriever folder of ours, and the
default named below everywhere else.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from art import distributed, files
from art.data.prompts import lacks_end
from art.errors import ArtError, ConfigError, notify
from art.retriever import backbones
from art.retriever.encoders import Retriever, Tower
from art.retriever.layers import cut_layers, train_upper_layers
from art.retriever.one_length import read_one_length
from art.retriever.projection import Projection, new_projection, read_projection
from art.retriever.settings import (
    FORMAT_VERSION,
    MANIFEST,
    READABLE_VERSIONS,
    TOWER_FOLDERS,
    Pooling,
    RetrieverManifest,
    RetrieverSettings,
    TitleJoin,
)
from art.retriever.starts import Start, open_starts, stated_by
from art.weights import load_tokenizer

DEFAULT_QUESTION_LENGTH = 64
DEFAULT_PASSAGE_LENGTH = 256


def load_retriever(folder: str | Path) -> Retriever:
    """Load a folder that `Retriever.save` wrote, in evaluation mode.

    Raises:
        ArtError: the folder is not one of ours, or of a later version, or incomplete.
    """
    if not _is_ours(folder):
        raise ArtError(
            f"no retriever here: {MANIFEST} is missing",
            where=folder,
            hint="name the folder that training wrote, such as RUN/retriever",
        )
    return _open(Path(folder), {}, None)


def create_retriever(
    model: str,
    *,
    passage_model: str | None = None,
    tied: bool | None = None,
    pooling: Pooling | None = None,
    normalize: bool | None = None,
    temperature: float | Literal["auto"] = "auto",
    question_length: int | None = None,
    passage_length: int | None = None,
    question_prefix: str | None = None,
    passage_prefix: str | None = None,
    title_join: TitleJoin | None = None,
    num_layers: int | None = None,
    projection_size: int | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    activation_checkpointing: bool = False,
    freeze: Literal["question", "passage"] | None = None,
    train_layers: int | None = None,
    dropout: float | None = None,
    seed: int = 1234,
    cache: Path | None = None,
) -> Retriever:
    """Start a retriever, in evaluation mode; untied towers begin as exact copies of each other.

    Args:
        model: a retriever folder of ours, a hub name or model folder, of sentence-transformers too,
            a `.gguf` file, or `pip:NAME` for the model or word-vector table of an installed
            package.
        passage_model: another model for the passage tower; needed for a DPR pair.
        tied: one tower for both; default True where both start from one model and neither is
            frozen.
        pooling: default the model's own where it states one; else `cls` where the tokenizer has
            such a token, `last` for models that only look back, else `mean`.
        normalize: scale vectors to length 1; default False, or what the model states.
        temperature: `auto` is 0.05 for normalised vectors, else the square root of D.
        question_length: in tokens; default 64, or what the model states.
        passage_length: in tokens; default 256, or what the model states.
        question_prefix: text before every question; default none, or what the model states.
        passage_prefix: text before every passage; default none, or what the model states.
        title_join: between a title and its text; default `separator`, a `space` for models of
            sentence-transformers.
        num_layers: keep only the first layers; default all.
        projection_size: output size of a linear projection after pooling; default none, or that of
            a DPR pair's own projection.
        dtype: what the backbone computes in; default float32.
        activation_checkpointing: recompute activations in the backward pass.
        freeze: the tower that does not learn.
        train_layers: how many layers learn, counted from the last; embeddings and lower layers do
            not. Default all, embeddings too.
        dropout: of hidden states and attention; default the model's own.
        seed: of the projection's first weights.
        cache: where converted models are kept; `files.cache_folder()` when None.

    Raises:
        ArtError: a model that cannot be loaded.
        ConfigError: settings that contradict each other or the model.
    """
    asked: dict[str, Any] = {
        "pooling": pooling,
        "normalize": normalize,
        "temperature": None if temperature == "auto" else temperature,
        "question_length": question_length,
        "passage_length": passage_length,
        "question_prefix": question_prefix,
        "passage_prefix": passage_prefix,
        "title_join": title_join,
        "num_layers": num_layers,
        "projection_size": projection_size,
        "dtype": dtype,
        "tied": tied,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if passage_model is not None and (given.get("tied") or _is_ours(model)):
        raise ConfigError("passage_model needs a second tower of its own", hint="leave it null")
    if _is_ours(model):
        retriever = _open(Path(model), given, dropout)
    else:
        models = [one for one in (model, passage_model) if one is not None]
        starts = open_starts(models, given=given, dropout=dropout, cache=cache)
        # A tower that does not learn must be another than the one that does.
        num_towers = 2 if freeze is not None else len(starts)
        retriever = _start(starts, given, num_towers=num_towers, seed=seed)
    if freeze is not None:
        if retriever.settings.tied:
            raise ConfigError(f"freeze is {freeze}, but the towers are tied", hint="untie them")
        getattr(retriever, f"{freeze}_tower").requires_grad_(False)
    if train_layers is not None:
        for tower in {retriever.question_tower, retriever.passage_tower}:
            if tower.trainable:
                train_upper_layers(tower, tower.backbone, train_layers)
    if activation_checkpointing:
        _checkpoint_activations(retriever)
    return retriever


def _is_ours(folder: str | Path) -> bool:
    return (Path(folder) / MANIFEST).is_file()


def _start(starts: list[Start], given: dict[str, Any], *, num_towers: int, seed: int) -> Retriever:
    if (size := starts[0].projection_size) is not None:
        given = _with_projection(given, size)
    stated = stated_by(starts, given)
    settings = _complete({"tied": num_towers == 1, **stated, **given}, starts[0])
    projections = [one.projection for one in starts]
    if projections[0] is None:
        hidden_size = starts[0].backbone.config.hidden_size
        new = new_projection(hidden_size, settings.projection_size, seed)
        projections = [copy.deepcopy(new) for _ in starts]
    towers = [
        _tower(one.backbone, settings, projection, cut=settings.num_layers)
        for one, projection in zip(starts, projections, strict=True)
    ]
    return _assemble(towers, starts[0].tokenizer, settings)


def _with_projection(given: dict[str, Any], size: int) -> dict[str, Any]:
    if given.get("projection_size", size) != size:
        raise ConfigError(
            f"projection_size is {given['projection_size']}, but the model's own projection gives "
            f"{size}",
            hint="leave it null",
        )
    return {**given, "projection_size": size}


def _complete(known: dict[str, Any], start: Start) -> RetrieverSettings:
    settings: dict[str, Any] = {
        "normalize": False,
        "question_length": DEFAULT_QUESTION_LENGTH,
        "passage_length": DEFAULT_PASSAGE_LENGTH,
        "question_prefix": "",
        "passage_prefix": "",
        "num_layers": None,
        "projection_size": None,
        "dtype": "float32",
        **known,
    }
    if "pooling" not in known:
        settings["pooling"] = backbones.default_pooling(start.backbone, start.tokenizer)
        if distributed.is_main():
            notify(
                f"{start.name} states no pooling: taken are retriever.pooling"
                f" {settings['pooling']} and retriever.normalize"
                f" {str(settings['normalize']).lower()}"
            )
    if "append_eos" not in known:
        settings["append_eos"] = _appends_eos(start.name, settings["pooling"], start.tokenizer)
    if "temperature" not in known:
        size = settings["projection_size"] or start.backbone.config.hidden_size
        settings["temperature"] = auto_temperature(size, normalize=settings["normalize"])
    return RetrieverSettings(**settings)


def _appends_eos(name: str, pooling: Pooling, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether texts get an end that `last` pooling reads, the tokenizer giving them none."""
    if pooling != "last" or not lacks_end(tokenizer):
        return False
    if tokenizer.eos_token_id is None and distributed.is_main():
        notify(
            f"the tokenizer of {name} knows no end-of-sequence token: pooling last reads the last"
            " token of each text itself"
        )
    return tokenizer.eos_token_id is not None


def auto_temperature(embedding_size: int, *, normalize: bool) -> float:
    """Return the paper's square root of D, or 0.05 for vectors of length 1.

    With normalised vectors the paper's metric would leave the best and the worst of 32 passages
    within a hundredth of each other, and nothing would be learned.
    """
    return 0.05 if normalize else math.sqrt(embedding_size)


def _open(folder: Path, given: dict[str, Any], dropout: float | None) -> Retriever:
    saved = _read_settings(folder / MANIFEST)
    settings = _changed(saved, given, folder)
    towers = []
    for name in backbones.TOWERS[:1] if saved.tied else backbones.TOWERS:
        source = folder / TOWER_FOLDERS[name]
        config = backbones.load_config(str(source), dropout=dropout)
        backbone = backbones.load_backbone(str(source), config, tower=name)
        projection = read_projection(
            source,
            backbone.config.hidden_size,
            saved.projection_size,
            saved.projection_activations,
        )
        towers.append(_tower(backbone, settings, projection, cut=given.get("num_layers")))
    if settings.normalize != saved.normalize and "temperature" not in given:
        temperature = auto_temperature(towers[0].embedding_size, normalize=settings.normalize)
        settings = dataclasses.replace(settings, temperature=temperature)
    tokenizer = load_tokenizer(str(folder / TOWER_FOLDERS["question"]))
    if settings.pooling != saved.pooling:
        append_eos = _appends_eos(str(folder), settings.pooling, tokenizer)
        settings = dataclasses.replace(settings, append_eos=append_eos)
    try:
        return _assemble(towers, tokenizer, settings)
    except ConfigError as error:
        raise ConfigError(error.what, where=error.where or folder, hint=error.hint) from error


def _read_settings(path: Path) -> RetrieverSettings:
    written = files.read_json(path)
    # Looked at first: another format has other fields, and would only be called corrupt.
    version = written.get("format_version") if isinstance(written, dict) else None
    if version not in (None, *READABLE_VERSIONS):
        raise ArtError(
            f"retriever format {version}, but this version reads up to {FORMAT_VERSION}",
            where=path,
            hint="use the version of art-retriever that the file names",
        )
    return RetrieverManifest.read(path).settings


def _changed(saved: RetrieverSettings, given: dict[str, Any], folder: Path) -> RetrieverSettings:
    if given.get("projection_size", saved.projection_size) != saved.projection_size:
        raise ConfigError(
            f"projection_size is {given['projection_size']}, but the weights have "
            f"{saved.projection_size or 'none'}",
            where=folder,
        )
    if given.get("tied") and not saved.tied:
        raise ConfigError("tied is true, but the folder has two towers", where=folder)
    return dataclasses.replace(saved, **given)


def _tower(
    backbone: PreTrainedModel,
    settings: RetrieverSettings,
    projection: Projection | None,
    *,
    cut: int | None,
) -> Tower:
    if cut is not None:
        cut_layers(backbone, cut)
    return Tower(
        backbone,
        pooling=settings.pooling,
        normalize=settings.normalize,
        dtype=settings.dtype,
        projection=projection,
    )


def _assemble(
    towers: list[Tower], tokenizer: PreTrainedTokenizerBase, settings: RetrieverSettings
) -> Retriever:
    longest = max(settings.question_length, settings.passage_length)
    for tower in towers:
        tower.eval()
        backbones.check_fits(tower.backbone, tokenizer, longest)
        if settings.pooling == "cls" and backbones.looks_only_back(tower.backbone):
            raise ConfigError(
                f"pooling is cls, but the first position of {tower.backbone.config.model_type}"
                " ignores all that follows it",
                hint="choose mean or last",
            )
        backbones.freeze_unused(tower, tower.backbone)
    read_one_length(towers, tokenizer, longest)
    question = towers[0]
    passage = towers[-1]
    if len(towers) == 1 and not settings.tied:
        passage = copy.deepcopy(question)
    return Retriever(question, passage, tokenizer, settings).eval()


def _checkpoint_activations(retriever: Retriever) -> None:
    for tower in {retriever.question_tower, retriever.passage_tower}:
        if not any(parameter.requires_grad for parameter in tower.parameters()):
            continue  # a frozen tower keeps no activations, and checkpoints would demand gradients
        backbone = tower.backbone
        options = {"use_reentrant": False}
        try:
            if hasattr(backbone, "activation_checkpointing_enable"):
                backbone.activation_checkpointing_enable(options)
            else:  # the name before transformers 5.23
                backbone.gradient_checkpointing_enable(options)
        except ValueError as error:
            raise ConfigError(f"activation_checkpointing is true, but {error}") from error
