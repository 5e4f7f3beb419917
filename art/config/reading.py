"""How a YAML file and command-line overrides become settings, with every fault at once."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from art.config.settings import Config, contradictions, fields
from art.errors import ConfigError, ConfigFaults, shown

DEFAULT = "default"
COMMAND_LINE = "command line"
_LONG_NAME = 100  # comparing takes the square of it
_MOST_BYTES = 1 << 20  # a larger file is no settings file, and reading it would take minutes


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, merge overrides of the form `--section.key value` into it, and check it.

    Args:
        path: the YAML file.
        overrides: command-line words such as `--training.top_k=8` or `--training.top_k`, `8`.

    Raises:
        ConfigFaults: anything is wrong; it lists every fault with the place it comes from.
    """
    return read_config_with_origins(path, overrides)[0]


def read_config_with_origins(
    path: str | Path, overrides: Sequence[str] = ()
) -> tuple[Config, dict[str, str]]:
    """Read settings as `read_config` does; return them and where each comes from.

    Args:
        path: as for `read_config`.
        overrides: as for `read_config`.

    Returns:
        The settings, and dotted path → `default`, the file's path or `command line`, for every
        setting there is.

    Raises:
        ConfigFaults: as for `read_config`.
    """
    document = _read_yaml(Path(path))
    settings, faults = parse_overrides(overrides)
    origins = _origins(document, str(path)) | dict.fromkeys(settings, COMMAND_LINE)
    for dotted, value in settings.items():
        section, _, key = dotted.partition(".")
        values = document.setdefault(section, {})
        if not isinstance(values, dict):
            values = document[section] = {}
        values[key] = value
    config = check_config(document, source=str(path), origins=origins, faults=faults)
    return config, {dotted: origins.get(dotted, DEFAULT) for dotted, _, _ in fields()}


def _origins(document: dict[str, Any], source: str) -> dict[str, str]:
    sections = {name: values for name, values in document.items() if isinstance(values, dict)}
    return {f"{name}.{key}": source for name, values in sections.items() for key in values}


def check_config(
    document: dict[str, Any],
    *,
    source: str,
    origins: dict[str, str] | None = None,
    faults: Sequence[str] = (),
) -> Config:
    """Turn nested plain values into a `Config`, or list every fault.

    Args:
        document: sections of settings.
        source: where they come from unless `origins` says otherwise.
        origins: dotted path → place, for single settings.
        faults: lines already known, reported with the rest.

    Raises:
        ConfigFaults: anything is wrong.
    """
    found = list(faults)
    config: Config | None = None
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        seen: set[str] = set()
        for fault in error.errors():
            dotted = ".".join(str(part) for part in fault["loc"][:2])
            if dotted not in seen:  # a union reports every branch: the first says enough
                seen.add(dotted)
                place = (origins or {}).get(dotted, source)
                found.append(f"{place}: {dotted}: {_explain(dotted, dict(fault))}")
    if config is not None:
        found += [f"{source}: {line}" for line in contradictions(config)]
    if found:
        raise ConfigFaults(found)
    assert config is not None
    return config


def parse_overrides(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Turn `--section.key=value` words into settings; return them and the faults found.

    Values are read as YAML, so `[a, b]`, `null` and `0.5` mean what they mean in a file.
    """
    known = {dotted for dotted, _, _ in fields()}
    settings: dict[str, Any] = {}
    faults: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            faults.append(
                f"command line: {word!r} is not an option of the form --section.key=value"
            )
            continue
        if name not in known:
            if not equals and rest and not rest[0].startswith("--"):
                rest.pop(0)
            faults.append(f"command line: --{name}: no such option{_nearest(name)}")
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                faults.append(f"command line: --{name}: needs a value")
                continue
            text = rest.pop(0)
        settings[name] = _value(text)
    return settings, faults


def _value(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text  # such as `@file`, which is not YAML but plain text
    # No setting is a mapping: `query: ` is a prefix.
    return text if isinstance(value, dict) else value


def _nearest(dotted: str) -> str:
    if len(dotted) > _LONG_NAME:
        return ""
    known = [name for name, _, _ in fields()]
    by_last_part = [name for name in known if name.partition(".")[2] == dotted.rpartition(".")[2]]
    near = by_last_part or difflib.get_close_matches(dotted, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _explain(dotted: str, fault: dict[str, Any]) -> str:
    if fault["type"] == "extra_forbidden":
        return f"no such setting{_nearest(dotted)}"
    if fault["type"] == "missing":
        sentence = next((text for name, text, _ in fields() if name == dotted), "")
        return f"is required. {sentence}" if sentence else "the section is required"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}, got {shown(fault['input'])}"


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML where a key that stands twice is an error instead of a silent last-one-wins."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str) and any("\ud800" <= one <= "\udfff" for one in value):
            raise yaml.constructor.ConstructorError(
                None, None, "half a surrogate pair", node.start_mark
            )
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
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
        return yaml.load(text, _UniqueKeyLoader)
    except yaml.reader.ReaderError as error:
        where = f"{path}:{text[: error.position].count(chr(10)) + 1}"
        what = f"the character {chr(error.character)!r} is not allowed in YAML"
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else where
        what = str(getattr(error, "problem", None) or error)
    except (ValueError, RecursionError) as error:  # a date that is none; [[[[…
        what = str(error)
    raise ConfigError(what, where=where, hint="mend the YAML there; quote what is meant as text")
