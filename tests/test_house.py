"""The house: imports without a circle, names that stand once, words that left, true maps."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "art").rglob("*.py"))
PACKAGES = [path.parent for path in MODULES if path.name == "__init__.py"]

# Words that were ours alone, or stood for several things; the second names what took their place.
LEFT = {
    r"scorer": "teacher",
    r"figures?": "metric",
    r"foresee|foreseen": "prefetch",
    r"propos(e|es|ed|al|als|er|ers|ing)": "candidates",
    r"at_hand|look_around": "inventory",
    r"by_passage": "grouped scoring",
    r"telling": "format",
    r"starter": "init_config",
    r"flatness": "label entropy",
    r"ceiling": "rerank",
    r"told_elsewhere": "reported_elsewhere",
    r"mend(s|ed|ing)?": "repair",
    r"vouch(es|ed)?": "verify",
    r"dialogue": "repl",
    r"whole or not at all": "atomically",
    r"disk refuses|refuses? the disk": "cannot be written",
    r"opinion": "score",
    r"could teach": "teacher",
    r"anybody's": "any",
}
# Common words that were names of ours; as names, the second stands in their place.
NAMES_LEFT = {
    "Clock": "PhaseTimer",
    "ahead": "prefetch",
    "checked": "integrity",
    "encoded": "grad_cached",
    "head": "projection",
    "heads": "projection",
    "learns": "trainable",
    "notebook": "api",
    "tell": "notify",
}
# Where a word means something else: HTML's <figure>, matplotlib's Figure, bytes in fingerprints.
ELSEWHERE = {
    r"figures?": {"art/report/drawing.py", "art/data/webpages.py", "art/data/markdown.py"},
    r"scorer": {
        "art/config/reading.py",  # which says what took its place
        "art/data/pairs.py",
        "art/teacher/kinds/answer_likelihood.py",
        "art/teacher/kinds/question_likelihood.py",
    },
}


# Folders that import whatever is in them: a new file there must not need a line elsewhere.
DISCOVERED = {
    "data/formats",
    "evaluation/metrics",
    "interop/exports",
    "teacher/kinds",
    "training/methods",
}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("art", cache_dir=None)  # with imports for type checking only


def test_no_module_imports_itself_through_others() -> None:
    imports = {name: graph().find_modules_directly_imported_by(name) for name in graph().modules}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name not in done:
            for imported in sorted(imports.get(name, ())):
                visit(imported, (*path, name))
            done.add(name)

    for name in sorted(imports):
        visit(name, ())


def test_no_two_classes_have_the_same_name() -> None:
    places = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("word", LEFT)
def test_words_that_left_do_not_come_back(word: str) -> None:
    pattern = re.compile(rf"(?<![A-Za-z])({word})(?![A-Za-z])", re.IGNORECASE)
    found = [
        f"{name}:{number}: {line.strip()}"
        for path in MODULES
        if (name := str(path.relative_to(ROOT))) not in ELSEWHERE.get(word, ())
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == [], f"say {LEFT[word]}"


def test_names_that_left_do_not_come_back() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}: {name}, say {NAMES_LEFT[name]}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if (name := _name(node)) in NAMES_LEFT
    ]
    assert found == []
    assert [path for path in MODULES if path.stem in NAMES_LEFT] == []
    assert list((ROOT / "tests" / "helpers").glob("*_world.py")) == []


def _name(node: ast.AST) -> str | None:
    """Return the name of a function, a class or an attribute; None of anything else."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    return node.attr if isinstance(node, ast.Attribute) else None


@pytest.mark.parametrize("package", PACKAGES, ids=lambda one: str(one.relative_to(ROOT)))
def test_a_rooms_map_names_every_module_in_it_and_no_other(package: Path) -> None:
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    mapped = set(re.findall(r"^ *([a-z_0-9]+)/? {2,}", text, re.MULTILINE))
    there = {path.stem for path in package.glob("*.py") if not path.stem.startswith("_")}
    there |= {path.parent.name for path in package.glob("*/__init__.py")}
    if package.name == "art":  # the rooms, whose map is art/README.md
        text = (ROOT / "art" / "README.md").read_text()
        mapped = set(re.findall(r"^art/(\w+)", text, re.MULTILINE))
    if str(package.relative_to(ROOT / "art")) in DISCOVERED:
        assert mapped <= there
    else:
        assert mapped == there
