"""What the folder of a sentence-transformers model says: its towers, their layers, its prompts.

Layouts before and since version 5.4 of that library are read; nothing of it is imported. A folder
lists modules, each of a class, that a text passes one after the other; what is not understood is
refused, because a module left out would give other vectors in silence.

Source: the folders that sentence-transformers 2 to 6 write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from art import files
from art.errors import ArtError, shown
from art.retriever.settings import Activation, Pooling
from art.weights import MODULES_FILE, loading_model

_PACKAGE = "sentence_transformers."
_TRANSFORMER_FILES = [
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]
_ROUTES = ("query", "document")
_PASSAGE_PROMPTS = ("document", "passage", "corpus")

_POOLINGS: dict[str, Pooling] = {"cls": "cls", "mean": "mean", "lasttoken": "last"}
_POOLING_SWITCHES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS: dict[str, Activation] = {
    "torch.nn.modules.linear.Identity": "identity",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
}
# What a Transformer's settings may say; all that changes no vector is left unread.
_TRANSFORMER_SETTINGS = {
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "query_expansion": None,
}
_UNREAD = {"unpad_inputs", "max_seq_length", "do_lower_case", "query_length", "document_length"}
_ARGUMENTS = {"model_args", "tokenizer_args", "config_args", "processing_kwargs"}
_HARMLESS_ARGUMENTS = {"trust_remote_code", "add_pooling_layer", "torch_dtype", "dtype"}
_DENSE_SETTINGS = {
    "module_input_name": "sentence_embedding",
    "module_output_name": "sentence_embedding",
    "use_residual": False,
}


@dataclass(frozen=True)
class TowerPlan:
    """What one tower is made of.

    Attributes:
        folder: of the backbone and its tokenizer.
        is_table: whether the backbone is a table of word vectors.
        lower_case: whether texts are lower-cased before the tokenizer reads them.
        question_length: tokens of a question; None where only the tokenizer says it.
        passage_length: tokens of a passage; None where only the tokenizer says it.
        pooling: of the backbone's states.
        layers: linear layers behind the pooling, maybe none.
        activations: one behind each layer.
        normalize: scale vectors to length 1.
    """

    folder: Path
    is_table: bool
    lower_case: bool
    question_length: int | None
    passage_length: int | None
    pooling: Pooling
    layers: tuple[nn.Linear, ...]
    activations: tuple[Activation, ...]
    normalize: bool


@dataclass(frozen=True)
class FolderPlan:
    """What a folder says.

    Attributes:
        towers: one, or that of questions and that of passages.
        question_prefix: text before every question; None where the folder has none.
        passage_prefix: text before every passage; None where the folder has none.
        compares_by_cosine: whether its library scales vectors to length 1 to compare them.
    """

    towers: tuple[TowerPlan, ...]
    question_prefix: str | None
    passage_prefix: str | None
    compares_by_cosine: bool


@dataclass(frozen=True)
class _Module:
    """One entry of a list of modules: its class's name, and the folder of its files."""

    kind: str
    folder: Path


def read_folder(folder: Path) -> FolderPlan:
    """Read a folder that has a `modules.json`.

    Raises:
        ArtError: it is damaged, or says something that is not understood.
    """
    listed = files.read_json(folder / MODULES_FILE)
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ArtError("not a list of modules", where=folder / MODULES_FILE, hint="save it again")
    modules = [
        _module(one.get("type"), one.get("path"), folder, folder / MODULES_FILE) for one in listed
    ]
    if modules and modules[0].kind in ("Router", "Asym"):
        routes = _routes(modules[0].folder)
        towers = tuple(_tower([*routes[name], *modules[1:]], folder) for name in _ROUTES)
    else:
        towers = (_tower(modules, folder),)
    question_prefix, passage_prefix, by_cosine = _read_prompts(folder)
    return FolderPlan(towers, question_prefix, passage_prefix, by_cosine)


def _module(kind: Any, path: Any, folder: Path, where: Path) -> _Module:
    if not isinstance(kind, str) or not kind.startswith(_PACKAGE):
        raise ArtError(
            f"the module {shown(kind)} is code of the model's own, which is not run",
            where=where,
            hint="choose a model of sentence-transformers' own modules",
        )
    parts = Path(path).parts if isinstance(path, str) else ("..",)
    if ".." in parts or Path(*parts).is_absolute():
        raise ArtError(f"a module lies outside the folder: {shown(path)}", where=where)
    return _Module(kind.rpartition(".")[2], folder / path)


def _routes(folder: Path) -> dict[str, list[_Module]]:
    path = folder / "router_config.json"
    if not path.is_file():
        path = folder / "config.json"  # as it was called before version 5
    found = _read_settings(path)
    structure, kinds = found.get("structure"), found.get("types")
    if not isinstance(structure, dict) or not isinstance(kinds, dict):
        raise ArtError("not the routes of a Router", where=path, hint="save the model again")
    if not set(_ROUTES) <= structure.keys() or _parameters(found).get("route_mappings"):
        raise ArtError(
            f"its routes are {shown(sorted(structure))}, of which none is known to be that of"
            " questions or of passages",
            where=path,
            hint="a Router is read whose routes are `query` and `document`",
        )
    return {
        route: [_module(kinds.get(name), name, folder, path) for name in structure[route]]
        for route in _ROUTES
    }


def _parameters(found: dict[str, Any]) -> dict[str, Any]:
    parameters = found.get("parameters")
    return parameters if isinstance(parameters, dict) else {}


def _tower(modules: Sequence[_Module], where: Path) -> TowerPlan:
    """Read modules in the only order that a tower has: backbone, pooling, layers, normalisation."""
    rest = iter([*modules, None])
    first, module = next(rest), next(rest, None)
    if first is None or first.kind not in ("Transformer", "StaticEmbedding"):
        raise _not_understood(first, where)
    pooling: Pooling = "mean"
    if first.kind == "Transformer":
        if module is None or module.kind != "Pooling":
            raise _not_understood(module, where)
        pooling = _read_pooling(module.folder / "config.json")
        module = next(rest)
    layers: list[tuple[nn.Linear, Activation]] = []
    while module is not None and module.kind == "Dense":
        layers.append(_read_dense(module.folder))
        module = next(rest)
    normalize = module is not None and module.kind == "Normalize"
    if normalize:
        module = next(rest)
    if module is not None:
        raise _not_understood(module, where)
    is_table = first.kind == "StaticEmbedding"
    settings = _read_table(first.folder) if is_table else _read_transformer(first.folder)
    lengths = [
        settings.get(name) or settings.get("max_seq_length")
        for name in ("query_length", "document_length")
    ]
    if not all(one is None or (type(one) is int and one > 0) for one in lengths):
        raise ArtError(f"a length is {shown(lengths)}", where=first.folder, hint="save it again")
    return TowerPlan(
        folder=first.folder,
        is_table=is_table,
        lower_case=bool(settings.get("do_lower_case")),
        question_length=lengths[0],
        passage_length=lengths[1],
        pooling=pooling,
        layers=tuple(layer for layer, _ in layers),
        activations=tuple(activation for _, activation in layers),
        normalize=normalize,
    )


def _not_understood(module: _Module | None, where: Path) -> ArtError:
    what = "the end of the list" if module is None else f"the module {module.kind!r}"
    return ArtError(
        f"{what} is not understood where it stands",
        where=where / MODULES_FILE,
        hint="read are Transformer with Pooling, or StaticEmbedding; then Dense, then Normalize; or"
        " a Router over these",
    )


def _read_settings(path: Path) -> dict[str, Any]:
    found = files.read_json(path)
    if not isinstance(found, dict):
        raise ArtError("not a mapping of settings", where=path, hint="save the model again")
    return found


def _read_transformer(folder: Path) -> dict[str, Any]:
    path = next((folder / one for one in _TRANSFORMER_FILES if (folder / one).is_file()), None)
    if path is None:
        return {}
    settings = _read_settings(path)
    _check_known(settings, _TRANSFORMER_SETTINGS, _UNREAD | _ARGUMENTS, path)
    for name in _ARGUMENTS & settings.keys():
        given = settings[name] or {}
        if not isinstance(given, dict) or given.keys() - _HARMLESS_ARGUMENTS:
            raise ArtError(f"{name} {shown(given)} is not understood", where=path)
    return settings


def _read_table(folder: Path) -> dict[str, Any]:
    """Return the length of a table's texts, which only its tokenizer's file may say."""
    path = folder / "tokenizer.json"
    cut = _read_settings(path).get("truncation") or {}
    if not isinstance(cut, dict) or cut.get("direction", "Right") != "Right":
        raise ArtError(f"truncation {shown(cut)} is not understood", where=path)
    return {"max_seq_length": cut.get("max_length")}


def _check_known(
    settings: dict[str, Any], known: dict[str, Any], unread: set[str], path: Path
) -> None:
    """Refuse settings that are neither known nor left unread, and known ones of other values."""
    for name, value in settings.items():
        if name not in unread and (name not in known or value != known[name]):
            raise ArtError(
                f"{name} {shown(value)} is not understood",
                where=path,
                hint="its vectors could not be given as the model's own library gives them",
            )


def _read_pooling(path: Path) -> Pooling:
    settings = _read_settings(path)
    if settings.get("include_prompt", True) is not True:
        raise ArtError("include_prompt false, pooling without the prompt, is not done", where=path)
    if "pooling_mode" in settings:
        mode = settings["pooling_mode"]
        modes = [mode] if isinstance(mode, str) else list(mode or ())
    else:
        # In the order in which several would be put one behind the other; none at all is the mean.
        modes = [mode for name, mode in _POOLING_SWITCHES.items() if settings.get(name)] or ["mean"]
    sizes = {"word_embedding_dimension", "embedding_dimension", "pooling_mode", "include_prompt"}
    _check_known(settings, {}, sizes | _POOLING_SWITCHES.keys(), path)
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise ArtError(
            f"pooling {' + '.join(map(str, modes))} is not done",
            where=path,
            hint="choose a model whose pooling is cls, mean or lasttoken",
        )
    return _POOLINGS[modes[0]]


def _read_dense(folder: Path) -> tuple[nn.Linear, Activation]:
    path = folder / "config.json"
    settings = _read_settings(path)
    sizes = {"in_features", "out_features", "bias", "activation_function"}
    _check_known(settings, _DENSE_SETTINGS, sizes, path)
    # Left out, it is what the class begins with.
    name = settings.get("activation_function", "torch.nn.modules.activation.Tanh")
    if name not in _ACTIVATIONS:
        raise ArtError(f"the activation {shown(name)} is not known", where=path)
    with loading_model(str(folder)):
        weights = _read_weights(folder)
        out_features, in_features = weights["linear.weight"].shape
        layer = nn.Linear(in_features, out_features, bias="linear.bias" in weights)
        layer.load_state_dict(
            {name.removeprefix("linear."): one.float() for name, one in weights.items()}
        )
    written = tuple(settings.get(name) for name in ("in_features", "out_features"))
    if written != (layer.in_features, layer.out_features):
        raise ArtError(f"the sizes are {written}, those of the weights are others", where=path)
    return layer, _ACTIVATIONS[name]


def _read_weights(folder: Path) -> dict[str, Tensor]:
    if (folder / "model.safetensors").is_file():
        return load_file(folder / "model.safetensors")
    weights: dict[str, Tensor] = torch.load(
        folder / "pytorch_model.bin", map_location="cpu", weights_only=True
    )
    return weights


def _read_prompts(folder: Path) -> tuple[str | None, str | None, bool]:
    path = folder / "config_sentence_transformers.json"
    settings = _read_settings(path) if path.is_file() else {}
    by_cosine = settings.get("similarity_fn_name") in (None, "cosine")
    prompts = settings.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(
        one is None or isinstance(one, str) for one in prompts.values()
    ):
        raise ArtError("the prompts are not texts", where=path, hint="save the model again")
    names = [settings.get("default_prompt_name")]
    question = next(_filled(prompts, ["query", *names]), None)
    return question, next(_filled(prompts, [*_PASSAGE_PROMPTS, *names]), None), by_cosine


def _filled(prompts: dict[str, Any], names: Sequence[Any]) -> Iterator[str]:
    """Yield the prompts that say something: empty ones are written for models without any."""
    for name in names:
        if isinstance(name, str) and prompts.get(name):
            yield prompts[name]
