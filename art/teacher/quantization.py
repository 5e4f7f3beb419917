"""Weights in few bits: a setting handed to transformers' own quantisation configs."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from transformers.quantizers.auto import AutoQuantizationConfig

from art.errors import ConfigError, first_line

_WHERE = "teacher.quantization"
# What transformers raises for an option that does not suit the method, the model or the machine.
FAULTS = (
    *(AssertionError, AttributeError, KeyError, NotImplementedError, RuntimeError, TypeError),
    ValueError,
)


def quantization_config(quantization: Mapping[str, Any]) -> Any:
    """Return transformers' quantisation config for a mapping such as `quant_method: quanto`.

    Args:
        quantization: as in the `quantization_config` of a model's config.json.

    Raises:
        ConfigError: transformers knows no such method, or the method no such option or value, or
            its package is missing.
    """
    with _refusals():
        config = AutoQuantizationConfig.from_dict(dict(quantization))
    # Most of transformers' configs pass over what they do not know.
    known = {"quant_method", *inspect.signature(type(config)).parameters, *config.to_dict()}
    if strangers := sorted(quantization.keys() - known):
        raise ConfigError(
            f"{quantization.get('quant_method', 'this method')} has no option "
            f"{', '.join(strangers)}",
            where=_WHERE,
            hint=f"it has {', '.join(sorted(known - {'quant_method', 'kwargs'}))}",
        )
    return config


@contextmanager
def quantizing(quantization: Mapping[str, Any] | None) -> Iterator[None]:
    """Blame what goes wrong while a model loads on its quantisation, where there is one.

    Raises:
        ConfigError: the method's package is missing, or it cannot quantise this model here.
    """
    if quantization is None:
        yield
        return
    with _refusals():
        yield


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        hint = "install the package it names"
        raise ConfigError(first_line(error), where=_WHERE, hint=hint) from error
    except FAULTS as error:
        raise ConfigError(first_line(error), where=_WHERE) from error
