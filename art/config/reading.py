"""How a YAML file and command-line overrides become settings, with every fault at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from art.config.choices import Choices
from art.config.settings import RETRIEVER_FOLDER, Config, contradictions, fields
from art.config.yaml_files import UniqueKeyLoader, merged, origins_of, read_settings
from art.errors import ConfigError, ConfigFaults, shown

DEFAULT = "default"
COMMAND_LINE = "command line"
_STAGE_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LONG_NAME = 100  # comparing takes the square of it


@dataclass(frozen=True)
class Stage:
    """One of several runs that a file chains, each starting from the retriever of the one before.

    Attributes:
        name: of the stage; None for the only one of a file without `stages`.
        config: its settings.
        origins: dotted path → `default`, the file's path or `command line`, for every setting.
    """

    name: str | None
    config: Config
    origins: dict[str, str]


# Sections that had another name; what still says it is refused in one line.
_RENAMED = {"scorer": "teacher"}
# The only settings that can be.
_MAPPINGS = {"teacher.blend", "teacher.quantization", "training.refresh_steps"}


def read_config(path: str | Path, overrides: Sequence[str] = (), *, choices: Choices) -> Config:
    """Read a YAML file, merge overrides of the form `--section.key value` into it, and check it.

    Args:
        path: the YAML file, of a single run.
        overrides: command-line words such as `--training.top_k=8` or `--training.top_k`, `8`.
        choices: names that settings can hold.

    Raises:
        ConfigFaults: anything is wrong; it lists every fault with the place it comes from.
        ConfigError: the file has stages.
    """
    stages = read_stages(path, overrides, choices=choices)
    if len(stages) > 1:
        raise ConfigError("has stages, where settings of one run are wanted", where=path)
    return stages[0].config


def read_stages(
    path: str | Path, overrides: Sequence[str] = (), *, choices: Choices
) -> list[Stage]:
    """Read a YAML file whose `stages` are overlays of its other sections, each a run of its own.

    A stage has a `name` and sections like the file's; what it sets replaces what the file sets, and
    the command line replaces both. It goes to `<output.folder>/<number>-<name>`, and unless it sets
    `retriever.model`, starts from the retriever of the stage before.

    Args:
        path: the YAML file; without `stages` it is a single run.
        overrides: as for `read_config`.
        choices: names that settings can hold.

    Raises:
        ConfigFaults: as for `read_config`; or a stage would train a reader.
    """
    document, origins = read_settings(Path(path))
    settings, faults = parse_overrides(overrides)
    overlays = document.pop("stages", None)
    base = merged(document, _nested(settings))
    origins |= dict.fromkeys(settings, COMMAND_LINE)
    if overlays is None:
        checked = _checked(base, origins, source=str(path), faults=faults, choices=choices)
        return [Stage(None, *checked)]
    stages: list[Stage] = []
    before: Path | None = None
    for number, overlay in enumerate(_named_overlays(overlays, Path(path), faults), start=1):
        name = overlay.pop("name")
        source = f"{path}, stage {name}"
        own = merged(merged(document, overlay), _nested(settings))
        where = origins | origins_of(overlay, source) | dict.fromkeys(settings, COMMAND_LINE)
        if own.get("reader"):
            faults.append(
                f"{source}: reader: stages pass on retrievers; train it in a file of its own"
            )
            continue
        if before is not None and "model" not in overlay.get("retriever", {}):
            start = {"model": str(before / RETRIEVER_FOLDER), "passage_model": None}
            own = merged(own, {"retriever": start})
            where |= dict.fromkeys(("retriever.model", "retriever.passage_model"), "stage before")
        before = Path(str(own.get("output", {}).get("folder", ""))) / f"{number}-{name}"
        own = merged(own, {"output": {"folder": str(before)}})
        try:
            checked = _checked(own, where, source=source, faults=(), choices=choices)
            stages.append(Stage(name, *checked))
        except ConfigFaults as error:
            faults += error.faults
    if faults:
        raise ConfigFaults(faults)
    return stages


def _named_overlays(overlays: Any, path: Path, faults: Sequence[str]) -> list[dict[str, Any]]:
    found = list(faults)
    if not isinstance(overlays, list) or not overlays:
        raise ConfigFaults([*found, f"{path}: stages: must be a list of `- name: …` with sections"])
    names: set[str] = set()
    for number, overlay in enumerate(overlays, start=1):
        name = overlay.get("name") if isinstance(overlay, dict) else None
        if not isinstance(name, str) or not _STAGE_NAME.fullmatch(name):
            found.append(
                f"{path}: stages: number {number} needs a name of small letters, digits and hyphens"
            )
        elif name in names:
            found.append(f"{path}: stages: two are called {name!r}")
        elif isinstance(overlay.get("output"), dict) and "folder" in overlay["output"]:
            found.append(f"{path}: stages: {name}: output.folder is the file's, with its own name")
        names.add(str(name))
    if found:
        raise ConfigFaults(found)
    return [{key: ({} if value is None else value) for key, value in o.items()} for o in overlays]


def _checked(
    document: dict[str, Any],
    origins: dict[str, str],
    *,
    source: str,
    faults: Sequence[str],
    choices: Choices,
) -> tuple[Config, dict[str, str]]:
    config = check_config(document, source=source, origins=origins, faults=faults, choices=choices)
    return config, {dotted: origins.get(dotted, DEFAULT) for dotted, _, _ in fields()}


def _nested(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    document: dict[str, dict[str, Any]] = {}
    for dotted, value in settings.items():
        section, _, key = dotted.partition(".")
        document.setdefault(section, {})[key] = value
    return document


def check_config(
    document: dict[str, Any],
    *,
    source: str,
    choices: Choices,
    origins: dict[str, str] | None = None,
    faults: Sequence[str] = (),
) -> Config:
    """Turn nested plain values into a `Config`, or list every fault.

    Args:
        document: sections of settings.
        source: where they come from unless `origins` says otherwise.
        choices: names that settings can hold.
        origins: dotted path → place, for single settings.
        faults: lines already known, reported with the rest.

    Raises:
        ConfigFaults: anything is wrong.
    """
    found = list(faults)
    for old, new in _RENAMED.items():
        if old in document:
            found.append(f"{source}: {old}: is called {new} now; rename the section")
            document = {new if name == old else name: values for name, values in document.items()}
    config: Config | None = None
    seen: set[str] = set()
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        for fault in error.errors():
            dotted = ".".join(str(part) for part in fault["loc"][:2])
            if dotted not in seen:  # a union reports every branch: the first says enough
                seen.add(dotted)
                place = (origins or {}).get(dotted, source)
                found.append(f"{place}: {dotted}: {_explain(dotted, dict(fault))}")
    found += [
        f"{(origins or {}).get(dotted, source)}: {dotted}: {line}"
        for dotted, line in choices.unknown(document)
        if dotted not in seen
    ]
    found += [
        f"{source}: {dotted}: {line}"
        for dotted, line in choices.unmet_needs(document)
        if dotted not in seen
    ]
    if config is not None:
        found += [f"{source}: {line}" for line in contradictions(config)]
        found += [f"{source}: {line}" for line in choices.faults(config)]
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
        settings[name] = _value(text, mapping=name in _MAPPINGS)
    return settings, faults


def _value(text: str, *, mapping: bool) -> Any:
    try:
        value = yaml.load(text, UniqueKeyLoader)
    except yaml.YAMLError:
        return text  # such as `@file`, which is not YAML but plain text
    # `query: ` is a prefix.
    return text if isinstance(value, dict) and not mapping else value


def _nearest(dotted: str) -> str:
    if len(dotted) > _LONG_NAME:
        return ""
    section, dot, key = dotted.partition(".")
    dotted = _RENAMED.get(section, section) + dot + key
    known = [name for name, _, _ in fields()]
    if dotted in known:
        return f"; did you mean {dotted}?"
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
