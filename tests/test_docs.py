"""What the READMEs say of the repository: links, commands, settings, paths and the map of rooms."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from art.cli import app
from art.config import fields

ROOT = Path(__file__).parents[1]
FOLDERS = ("art", "configs", "launch", "tests")
FIRST = ROOT / "README.md"
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
)
CURRENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]  # it may use former names

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_ELSEWHERE = re.compile(r"[a-z]+:")
_PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./-]*[\w/]")


def prose(document: Path) -> str:
    return _FENCE.sub("", document.read_text())


def blocks(document: Path, language: str) -> list[str]:
    return [code for name, code in _FENCE.findall(document.read_text()) if name == language]


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives a document's headings."""
    found: set[str] = set()
    seen = Counter[str]()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(document), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip()).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def links(document: Path) -> Iterator[tuple[Path, str]]:
    """Yield (file, anchor) of each link into the repository; the anchor may be empty."""
    for target in _LINK.findall(_CODE.sub("", prose(document))):
        if not _ELSEWHERE.match(target):
            name, _, anchor = target.partition("#")
            yield ((document.parent / name).resolve() if name else document), anchor


def commands() -> list[tuple[Path, str, list[str]]]:
    """Return (document, command, its options) of each `art` in the shell blocks."""
    found = []
    for document in CURRENT:
        for line in "\n".join(blocks(document, "bash")).replace("\\\n", " ").splitlines():
            words = shlex.split(re.sub(r"[\[\]]", "", line), comments=True)
            if "art" in words:
                command, *rest = words[words.index("art") + 1 :]
                options = [word.partition("=")[0] for word in rest if word.startswith("--")]
                found.append((document, command, options))
    return found


def rooms_of_map(document: Path) -> list[str]:
    """Return the rooms that a document's map names, in its order."""
    (code,) = (block for block in blocks(document, "") if block.startswith("art/errors"))
    names = [re.split(r"\s{2,}", line)[0].removeprefix("art/") for line in code.splitlines()]
    return [name for line in names for name in line.split(", ")]


def test_the_first_page_is_short() -> None:
    assert len(FIRST.read_bytes()) <= 9000


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    broken = [
        f"{file}#{anchor}"
        for file, anchor in links(document)
        if not file.exists() or (anchor and anchor not in anchors(file))
    ]
    assert not broken


def test_every_document_is_reached_from_the_first_page() -> None:
    reached, waiting = {FIRST}, [FIRST]
    while waiting:
        for file, _ in links(waiting.pop()):
            if file.suffix == ".md" and file not in reached and file.exists():
                reached.add(file)
                waiting.append(file)
    assert set(DOCUMENTS) <= reached


def test_commands_have_the_options_that_are_shown() -> None:
    known = {
        name: {"--help", *(opt for param in command.params for opt in param.opts)}
        for name, command in typer.main.get_command(app).commands.items()
    }
    known["train"] |= {f"--{dotted}" for dotted, _, _ in fields()}
    unknown = [
        f"{document.relative_to(ROOT)}: art {command} {option}"
        for document, command, options in commands()
        for option in (options or ["--help"])
        if option not in known.get(command, ())
    ]
    assert not unknown
    assert {command for _, command, _ in commands()} >= known.keys() - {"demo"}


def test_settings_in_code_marks_exist() -> None:
    known = {dotted for dotted, _, _ in fields()}
    sections = "|".join({dotted.partition(".")[0] for dotted in known})
    setting = re.compile(rf"(?<![\w./])(?:{sections})\.[a-z_0-9]+\b")
    named = {
        (document, dotted)
        for document in CURRENT
        for code in _CODE.findall(prose(document))
        for dotted in setting.findall(code)
    }
    assert [f"{document}: {dotted}" for document, dotted in named if dotted not in known] == []
    assert named


@pytest.mark.parametrize("document", CURRENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_in_code_marks_exist(document: Path) -> None:
    code = [*_CODE.findall(prose(document)), *blocks(document, "bash")]
    named = {path for text in code for path in _PATH.findall(text)}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_maps_name_every_room_in_the_order_of_imports() -> None:
    rooms = {path.stem for path in (ROOT / "art").glob("*.py")} - {"__init__", "__main__"}
    rooms |= {path.parent.name for path in (ROOT / "art").glob("*/__init__.py")}
    named = rooms_of_map(ROOT / "art" / "README.md")
    assert rooms_of_map(FIRST) == named
    assert sorted(named) == sorted(rooms)
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (one["layers"] for one in contracts["contracts"] if one["type"] == "layers")
    height = {room: -i for i, layer in enumerate(layers) for room in layer.split(" | ")}
    assert [height[room] for room in named] == sorted(height[room] for room in named)
