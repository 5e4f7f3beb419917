"""One Hugging Face encoder, made ready to train: its class, poolers, dropout, limits."""

from __future__ import annotations

import inspect
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    BertConfig,
    BertModel,
    DPRContextEncoder,
    DPRQuestionEncoder,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from art.errors import ArtError, ConfigError
from art.retriever.static import StaticEmbeddingModel
from art.weights import check_size, loading_model, without_load_report

TowerName = Literal["question", "passage"]
TOWERS: tuple[TowerName, TowerName] = ("question", "passage")

_DPR_CLASSES = {"question": DPRQuestionEncoder, "passage": DPRContextEncoder}
_POSITION_TABLES = ("position_embeddings", "embed_positions", "wpe")


def load_config(source: str, *, dropout: float | None = None) -> PreTrainedConfig:
    """Load the config of a hub name or folder, with another dropout if one is given.

    Raises:
        ArtError: it cannot be read.
        ConfigError: a dropout is asked of a model that has none.
    """
    with loading_model(source):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    check_size(config, source)
    set_dropout(config, source, dropout)
    return config


def set_dropout(config: PreTrainedConfig, source: str, dropout: float | None) -> None:
    """Write a dropout into a config, if one is given.

    Raises:
        ConfigError: the model has none.
    """
    if dropout is None:
        return
    names = _dropout_fields(config)
    if dropout > 0 and not names:
        raise ConfigError(
            f"{source!r} ({config.model_type}) has no dropout to set", hint="leave it null"
        )
    for name in names:
        setattr(config, name, dropout)


def _dropout_fields(config: PreTrainedConfig) -> list[str]:
    # Not the dropout of heads that are not there, and not `layerdrop`, which drops whole layers.
    heads = ("classif", "qa_", "summary", "first_")
    return [
        name
        for name, value in config.to_dict().items()
        if ("dropout" in name or name.endswith("_pdrop"))
        and not any(head in name for head in heads)
        and isinstance(value, int | float)
    ]


def load_backbone(source: str, config: PreTrainedConfig, *, tower: TowerName) -> PreTrainedModel:
    """Load float32 weights into the class that encodes with this config, without a pooler.

    An encoder-decoder gives its encoder. Half of a DPR pair gives the BERT inside it, whose first
    position is DPR's vector: saved as BERT, either half reloads through `AutoModel`, which takes
    every DPR config for a question encoder.

    Args:
        source: hub name or folder.
        config: from `load_config`.
        tower: which tower it is for; matters for DPR pairs.

    Raises:
        ArtError: no such model, no encoder in it, or weights that are not in the checkpoint.
        ConfigError: the other half of a DPR pair.
    """
    if config.model_type == "dpr":
        model = _bert_inside(source, config, tower)
    else:
        model = _load(_encoder_class(source, config), source, config)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False  # nothing is generated, and keys and values cost memory
    return model


def load_projection(source: str, config: PreTrainedConfig, *, tower: TowerName) -> nn.Linear | None:
    """Return the linear layer with bias behind the BERT of half a DPR pair; None for all others.

    Args:
        source: hub name or folder.
        config: from `load_config`.
        tower: which tower it is for.

    Raises:
        ArtError: as `load_backbone`.
    """
    if config.model_type != "dpr" or not config.projection_dim:
        return None
    half = _dpr_half(source, config, tower)
    found = (one for name, one in half.named_modules() if name.endswith(".encode_proj"))
    projection: nn.Linear = next(found)
    return projection


def _load(
    kind: Any, source: str, config: PreTrainedConfig, weights: dict[str, Tensor] | None = None
) -> PreTrainedModel:
    options: dict[str, Any] = {}
    if "add_pooling_layer" in inspect.signature(kind.__init__).parameters:
        options["add_pooling_layer"] = False
    with loading_model(source), without_load_report():
        model, report = kind.from_pretrained(
            source if weights is None else None,
            config=config,
            state_dict=weights,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    if missing := sorted(report["missing_keys"]):
        raise ArtError(
            f"the checkpoint of {source!r} lacks {len(missing)} weights that {kind.__name__} needs,"
            f" such as {missing[0]}",
            hint="is it the checkpoint of another kind of model?",
        )
    return model


def _encoder_class(source: str, config: PreTrainedConfig) -> Any:
    encoders = MODEL_FOR_TEXT_ENCODING_MAPPING
    # An encoder that was saved alone says so in its config, and names its class.
    alone = type(config) in encoders and encoders[type(config)].__name__
    is_part = config.is_encoder_decoder or alone in (config.architectures or ())
    mapping = encoders if is_part else MODEL_MAPPING
    if type(config) not in mapping:
        raise ArtError(
            f"{source!r} ({config.model_type}) has no text encoder that transformers loads alone",
            hint="choose an encoder, a decoder or a T5",
        )
    kind = mapping[type(config)]
    return kind[0] if isinstance(kind, list | tuple) else kind


def _dpr_half(source: str, config: PreTrainedConfig, tower: TowerName) -> PreTrainedModel:
    kind = _DPR_CLASSES[tower]
    found = (config.architectures or [kind.__name__])[0]
    if found != kind.__name__:
        raise ConfigError(
            f"the {tower} tower of a DPR pair is a {kind.__name__}, but {source!r} is a {found}",
            hint="`model` names the question encoder and `passage_model` the context encoder",
        )
    return _load(kind, source, config)


def _bert_inside(source: str, config: PreTrainedConfig, tower: TowerName) -> PreTrainedModel:
    half = _dpr_half(source, config, tower)
    bert = next(module for module in half.modules() if isinstance(module, BertModel))
    shared = BertConfig().to_dict().keys() - {"architectures", "model_type"}
    fields = {name: value for name, value in config.to_dict().items() if name in shared}
    return _load(BertModel, source, BertConfig(**fields), bert.state_dict())


def num_positions(backbone: PreTrainedModel) -> int | None:
    """Return the tokens that the model's table of positions has room for; None without one."""
    tables = [
        # RoBERTa and its kin count positions from behind the padding id.
        module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _POSITION_TABLES
    ]
    return min(tables, default=None)


def check_fits(backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, length: int) -> None:
    """Refuse token ids and positions that the model has no embedding for.

    Args:
        backbone: the model.
        tokenizer: whose ids it will read.
        length: the longest sequence, in tokens.

    Raises:
        ConfigError: the sequence is longer than the model's table of positions.
        ArtError: the tokenizer belongs to a model with a larger vocabulary.
    """
    positions = num_positions(backbone)
    if positions is not None and length > positions:
        raise ConfigError(
            f"question_length or passage_length is {length}, but the model has {positions}"
            " positions"
        )
    rows = _num_ids(backbone)
    if max(tokenizer.get_vocab().values(), default=0) >= rows:
        raise ArtError(
            f"the tokenizer has more tokens than the model's {rows} embeddings",
            where=backbone.name_or_path or None,
            hint="take both from the same folder",
        )


def default_pooling(
    backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> Literal["cls", "mean", "last"]:
    """Return `last` for a model that only looks back, `cls` where such a token exists, else `mean`.

    Args:
        backbone: in evaluation mode.
        tokenizer: of the same model.
    """
    if isinstance(backbone, StaticEmbeddingModel):
        return "mean"
    if looks_only_back(backbone):
        return "last"
    return "mean" if tokenizer.cls_token_id is None else "cls"


def looks_only_back(backbone: PreTrainedModel) -> bool:
    """Return whether the first position ignores what follows it (asked of the model itself)."""
    ids = probe_ids(backbone)
    other = ids.clone()
    other[:, -1] = ids[:, 0]
    first, second = (_first_states(backbone, one) for one in (ids, other))
    return torch.equal(first, second)


def _first_states(backbone: PreTrainedModel, ids: Tensor) -> Tensor:
    with loading_model(backbone.name_or_path), torch.no_grad():
        output = backbone(input_ids=ids, attention_mask=torch.ones_like(ids))
    states: Tensor = output.last_hidden_state[:, 0]
    return states


def freeze_unused(tower: nn.Module, backbone: PreTrainedModel) -> None:
    """Turn `requires_grad` off where no gradient arrives, which DDP would wait for.

    Args:
        tower: called as `tower(ids, mask)`, in evaluation mode, so that nothing is dropped by
            chance.
        backbone: the model in it, for the ids to try.
    """
    ids = probe_ids(backbone)
    named = [one for one in tower.parameters() if one.requires_grad]
    with loading_model(backbone.name_or_path):  # settings of the model that contradict each other
        vectors = tower(ids, torch.ones_like(ids, dtype=torch.bool))
        gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
            vectors.sum(), named, allow_unused=True
        )
    for parameter, gradient in zip(named, gradients, strict=True):
        if gradient is None:
            parameter.requires_grad_(False)


def probe_ids(backbone: PreTrainedModel) -> Tensor:
    """Return two short rows of ids that the model knows and does not take for padding, [2, 4]."""
    rows = _num_ids(backbone)
    padding = getattr(backbone.config, "pad_token_id", None)
    usable = [i for i in range(min(rows, 16)) if i != padding]
    return torch.tensor([usable[i % len(usable)] for i in range(8)]).view(2, 4)


def _num_ids(backbone: PreTrainedModel) -> int:
    # Not every table of embeddings counts its rows (I-BERT's).
    return len(backbone.get_input_embeddings().weight)
