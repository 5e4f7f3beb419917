"""YAML files of settings: read strictly, and laid over the files that they are based on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from art.errors import ConfigError, shown

_BASE = "base"
_STAGES = "stages"
_MOST_BYTES = 1 << 20  # a larger file is no settings file, and reading it would take minutes


def read_settings(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read a file of settings, laid over the files that its `base` names.

    `base` is a path from the file's own folder, or a list of them, each laid over those before it.
    A base has no base of its own, so that two files at most say where a value is from.

    Args:
        path: the YAML file.

    Returns:
        The sections without `base`, and dotted path → the file that each setting is from.

    Raises:
        ConfigError: a file cannot be read, is not YAML, or is based on what cannot be a base.
    """
    own = _read_yaml(path)
    document: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for base in _bases(own.pop(_BASE, []), path):
        below = _read_yaml(base)
        for key in (_BASE, _STAGES):
            if key in below:
                hint = f"{path} is based on it; write it there, or name two bases in a list"
                raise ConfigError(f"a base has no {key!r} of its own", where=base, hint=hint)
        document = merged(document, below)
        origins |= origins_of(below, str(base))
    return merged(document, own), origins | origins_of(own, str(path))


def _bases(named: Any, path: Path) -> list[Path]:
    names = [named] if isinstance(named, str) else named
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        hint = "base: ../base/art.yaml, or a list of such paths"
        raise ConfigError(f"base: not a path: {shown(named)}", where=path, hint=hint)
    return [Path(os.path.normpath(path.parent / name)) for name in names]


def merged(document: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's sections with an overlay's settings in their place."""
    result = dict(document)
    for section, values in overlay.items():
        there = result.get(section)
        if isinstance(there, dict) and isinstance(values, dict):
            result[section] = {**there, **values}
        else:
            result[section] = values
    return result


def origins_of(document: Mapping[str, Any], source: str) -> dict[str, str]:
    """Return dotted path → `source` for every setting of a document."""
    sections = {name: values for name, values in document.items() if isinstance(values, dict)}
    return {f"{name}.{key}": source for name, values in sections.items() for key in values}


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML where a key that stands twice is an error instead of a silent last-one-wins."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Return a plain value; half a surrogate pair is refused."""
        value = super().construct_scalar(node)
        if isinstance(value, str) and any("\ud800" <= one <= "\udfff" for one in value):
            raise yaml.constructor.ConstructorError(
                None, None, "half a surrogate pair", node.start_mark
            )
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return a mapping; a key that stands twice is refused."""
        seen: set[str] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            name = str(key_node.value)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {shown(name)} stands twice", key_node.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            contents = file.read(_MOST_BYTES + 1)
        text = contents.decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError("no such config file", where=path, hint="check the path") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"cannot read: {reason}", where=path, hint="check the path") from error
    except UnicodeDecodeError as error:
        line = contents[: error.start].count(b"\n") + 1
        hint = "convert the file to UTF-8"
        raise ConfigError("not UTF-8 text", where=f"{path}:{line}", hint=hint) from error
    if len(contents) > _MOST_BYTES:
        raise ConfigError("too long for settings", where=path, hint="is it another file?")
    document = _parsed(text, path)
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError(
            "must be sections of settings (data:, retriever:, …)",
            where=path,
            hint="art train --help lists them",
        )
    return {str(key): ({} if value is None else value) for key, value in document.items()}


def _parsed(text: str, path: Path) -> Any:
    where, what = str(path), ""
    try:
        return yaml.load(text, UniqueKeyLoader)
    except yaml.reader.ReaderError as error:
        where = f"{path}:{text[: error.position].count(chr(10)) + 1}"
        what = f"the character {chr(error.character)!r} is not allowed in YAML"
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else where
        what = str(getattr(error, "problem", None) or error)
    except (ValueError, RecursionError) as error:  # a date that is none; [[[[…
        what = str(error)
    raise ConfigError(what, where=where, hint="repair the YAML there; quote what is meant as text")
