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

from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from art import files
from art.errors import ArtError, ConfigError
from art.retriever import backbones
from art.retriever.encoders import (
    FORMAT_VERSION,
    MANIFEST,
    TOWER_FOLDERS,
    Pooling,
    Retriever,
    RetrieverManifest,
    RetrieverSettings,
    Tower,
)
from art.retriever.projection import new_projection, read_projection
from art.retriever.static import convert_packaged_table
from art.weights import PACKAGE_PREFIX, load_tokenizer, resolve_model

DEFAULT_QUESTION_LENGTH = 64
DEFAULT_PASSAGE_LENGTH = 256

_TOWERS: tuple[backbones.TowerName, backbones.TowerName] = ("question", "passage")


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
    num_layers: int | None = None,
    projection_size: int | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    activation_checkpointing: bool = False,
    freeze: Literal["question", "passage"] | None = None,
    dropout: float | None = None,
    seed: int = 1234,
    cache: Path | None = None,
) -> Retriever:
    """Start a retriever, in evaluation mode; untied towers begin as exact copies of each other.

    Args:
        model: a retriever folder of ours, a hub name or model folder, a `.gguf` file, or `pip:NAME`
            for the model or word-vector table of an installed package.
        passage_model: another model for the passage tower; needed for a DPR pair.
        tied: one tower for both; default False.
        pooling: default `cls` where the tokenizer has such a token, `last` for models that only
            look back, else `mean`.
        normalize: scale vectors to length 1; default False.
        temperature: `auto` is 0.05 for normalised vectors, else the square root of D.
        question_length: in tokens; default 64.
        passage_length: in tokens; default 256.
        question_prefix: text before every question; default none.
        passage_prefix: text before every passage; default none.
        num_layers: keep only the first layers; default all.
        projection_size: output size of a linear projection after pooling; default none, or that of
            a DPR pair's own projection.
        dtype: what the backbone computes in; default float32.
        activation_checkpointing: recompute activations in the backward pass.
        freeze: the tower that does not learn.
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
        sources = [_source(one, cache) for one in (model, passage_model) if one is not None]
        retriever = _start(sources, given, dropout, seed)
    if freeze is not None:
        if retriever.settings.tied:
            raise ConfigError(f"freeze is {freeze}, but the towers are tied", hint="untie them")
        getattr(retriever, f"{freeze}_tower").requires_grad_(False)
    if activation_checkpointing:
        _checkpoint_activations(retriever)
    return retriever


def _is_ours(folder: str | Path) -> bool:
    return (Path(folder) / MANIFEST).is_file()


def _source(model: str, cache: Path | None) -> str:
    found = resolve_model(model, cache=cache)
    if found.startswith(PACKAGE_PREFIX):
        return str(convert_packaged_table(found.removeprefix(PACKAGE_PREFIX), cache=cache))
    return found


def _start(
    sources: list[str], given: dict[str, Any], dropout: float | None, seed: int
) -> Retriever:
    configs = [backbones.load_config(source, dropout=dropout) for source in sources]
    tied = given.get("tied", False)
    if configs[0].model_type == "dpr" and len(sources) == 1 and not tied:
        raise ConfigError(
            f"{sources[0]!r} is one half of a DPR pair",
            hint="name the other half, its context encoder, as passage_model",
        )
    tokenizers = [load_tokenizer(source) for source in sources]
    models = [
        backbones.load_backbone(sources[i], configs[i], tower=_TOWERS[i])
        for i in range(len(sources))
    ]
    projections = [
        backbones.load_projection(sources[i], configs[i], tower=_TOWERS[i])
        for i in range(len(sources))
    ]
    _check_same_kind(sources, models, projections, tokenizers)
    if projections[0] is not None:
        given = _with_projection(given, projections[0].out_features)
    settings = _complete(given, models[0], tokenizers[0])
    if projections[0] is None:
        projection = new_projection(models[0].config.hidden_size, settings.projection_size, seed)
        projections = [projection, copy.deepcopy(projection)][: len(models)]
    towers = [
        _tower(one, settings, projection, cut=settings.num_layers)
        for one, projection in zip(models, projections, strict=True)
    ]
    return _assemble(towers, tokenizers[0], settings)


def _check_same_kind(
    sources: list[str],
    models: list[PreTrainedModel],
    projections: list[nn.Linear | None],
    tokenizers: list[PreTrainedTokenizerBase],
) -> None:
    names = " and ".join(map(repr, sources))
    vectors = [None if one is None else one.out_features for one in projections]
    sizes = zip((one.config.hidden_size for one in models), vectors, strict=True)
    if len(set(sizes)) > 1:
        raise ConfigError(f"{names} have vectors of different sizes")
    if tokenizers[0].get_vocab() != tokenizers[-1].get_vocab():
        raise ConfigError(
            f"{names} have different vocabularies", hint="both towers read the same token ids"
        )


def _with_projection(given: dict[str, Any], size: int) -> dict[str, Any]:
    if given.get("projection_size", size) != size:
        raise ConfigError(
            f"projection_size is {given['projection_size']}, but the model's own projection gives "
            f"{size}",
            hint="leave it null",
        )
    return {**given, "projection_size": size}


def _complete(
    given: dict[str, Any], backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> RetrieverSettings:
    settings: dict[str, Any] = {
        "normalize": False,
        "question_length": DEFAULT_QUESTION_LENGTH,
        "passage_length": DEFAULT_PASSAGE_LENGTH,
        "question_prefix": "",
        "passage_prefix": "",
        "num_layers": None,
        "projection_size": None,
        "dtype": "float32",
        "tied": False,
        **given,
    }
    if "pooling" not in given:
        settings["pooling"] = backbones.default_pooling(backbone, tokenizer)
    if "temperature" not in given:
        size = settings["projection_size"] or backbone.config.hidden_size
        settings["temperature"] = auto_temperature(size, normalize=settings["normalize"])
    return RetrieverSettings(**settings)


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
    for name in _TOWERS[:1] if saved.tied else _TOWERS:
        source = folder / TOWER_FOLDERS[name]
        config = backbones.load_config(str(source), dropout=dropout)
        backbone = backbones.load_backbone(str(source), config, tower=name)
        projection = read_projection(source, backbone.config.hidden_size, saved.projection_size)
        towers.append(_tower(backbone, settings, projection, cut=given.get("num_layers")))
    if settings.normalize != saved.normalize and "temperature" not in given:
        temperature = auto_temperature(towers[0].embedding_size, normalize=settings.normalize)
        settings = dataclasses.replace(settings, temperature=temperature)
    tokenizer = load_tokenizer(str(folder / TOWER_FOLDERS["question"]))
    try:
        return _assemble(towers, tokenizer, settings)
    except ConfigError as error:
        raise ConfigError(error.what, where=error.where or folder, hint=error.hint) from error


def _read_settings(path: Path) -> RetrieverSettings:
    written = files.read_json(path)
    # Looked at first: another format has other fields, and would only be called corrupt.
    version = written.get("format_version") if isinstance(written, dict) else None
    if version not in (None, FORMAT_VERSION):
        raise ArtError(
            f"retriever format {version}, but this version reads {FORMAT_VERSION}",
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
    projection: nn.Linear | None,
    *,
    cut: int | None,
) -> Tower:
    if cut is not None:
        backbones.cut_layers(backbone, cut)
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
