"""Docstrings of modules as passages; a script that `corpus` runs in a process of its own.

Module names come as a JSON list on standard input; the passages leave as one on standard output. It
imports only the standard library, whatever is installed beside it.
"""

import functools
import importlib
import inspect
import json
import re
import sys
import types
import typing
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import is_dataclass

# Shorter docstrings ("An enumeration.", "Fault handler.", a bare name) say nothing that a question
# could be matched to: as passages they would only be noise that the retriever has to rank.
MIN_DOCSTRING_CHARS = 20

# Where names of a module without `__all__` come from when it is not the module itself or the
# module's name with an underscore before it.
_OTHER_TWINS: dict[str, frozenset[str]] = {
    "builtins": frozenset({"io", "_io"}),
    "os": frozenset({"posix", "nt"}),
}

# Where several built-in types share a docstring (`set.union`, `frozenset.union`), the type that
# people reach for first keeps it.
_COMMON_TYPES = ("str", "bytes", "int", "float", "list", "dict", "set")

# Defaults whose repr is the same in every process; a set or an object would print its hash order or
# its address, a path would print the machine.
_PLAIN_DEFAULTS = (type(None), bool, int, float, str, bytes)

# Where Python lies; `platform.architecture` has its own path as a default.
_OWN_PLACES = (sys.executable, sys.prefix, sys.base_prefix)

# `typing.Optional` and its like are neither classes nor functions, yet people look them up.
_SPECIAL_FORM = type(typing.Optional)

# Properties of classes written in C are get-set and member descriptors.
_METHODS_AND_PROPERTIES = (
    staticmethod,
    classmethod,
    property,
    functools.cached_property,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)

Passage = tuple[str, str, str]


class _Elided:
    """Stands for a default value that must not be printed."""

    def __repr__(self) -> str:
        return "..."


class _Collector:
    """Collects passages and remembers which objects and texts it already has."""

    def __init__(self) -> None:
        self._passages: list[Passage] = []
        # The objects themselves are kept: an id is unique only while its object lives.
        self._seen_objects: dict[int, object] = {}
        self._seen_texts: set[tuple[str, str]] = set()

    def collect(self, names: Iterable[str]) -> list[Passage]:
        """Collect all modules.

        Returns:
            The passages, in the order of the modules.
        """
        for name in names:
            module = _import(name)
            if module is not None:
                self._add_module(name, module)
        return self._passages

    def _add_module(self, name: str, module: types.ModuleType) -> None:
        self._add(name, module, module.__doc__)
        prefix = "" if name == "builtins" else f"{name}."
        members = _own_name_first(_public_members(name, module))
        # Functions before classes: `random.choice` is a method of a hidden `random.Random`, and
        # people know it under the module's name.
        for member, value in members:
            if inspect.isroutine(value) or isinstance(value, _SPECIAL_FORM):
                self._add(prefix + member, value, value.__doc__)
        for member, value in members:
            if isinstance(value, type):
                self._add_class(prefix + member, value)

    def _add_class(self, title: str, cls: type) -> None:
        if not self._is_new(cls):
            return
        self._add(title, cls, _class_docstring(cls))
        for member, value, docstring in _class_members(cls):
            if self._is_new(value):
                self._add(f"{title}.{member}", value, docstring)

    def _is_new(self, value: object) -> bool:
        return id(_unwrap(value)) not in self._seen_objects

    def _add(self, title: str, value: object, docstring: object) -> None:
        if not self._is_new(value):
            return
        target = _unwrap(value)
        self._seen_objects[id(target)] = target
        if not isinstance(docstring, str):
            return
        text = inspect.cleandoc(docstring)
        name = title.rpartition(".")[2]
        if len(text) < MIN_DOCSTRING_CHARS or (name, text) in self._seen_texts:
            return
        self._seen_texts.add((name, text))
        self._passages.append((title, title, _with_signature(name, value, text)))


def _import(name: str) -> types.ModuleType | None:
    """Import a module.

    Returns:
        The module, or None where this platform or Python version does not have it.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _public_members(name: str, module: types.ModuleType) -> list[tuple[str, typing.Any]]:
    """List what a module offers.

    Returns:
        Names and objects: those in `__all__`, or else those defined in the module itself.
    """
    exported = getattr(module, "__all__", None)
    if exported is not None:
        return [(n, getattr(module, n, None)) for n in exported if not n.startswith("_")]
    return [
        (n, value)
        for n, value in vars(module).items()
        if not n.startswith("_") and _is_defined_in(name, value)
    ]


def _is_defined_in(name: str, value: object) -> bool:
    """Tell a module's own names from those that it imported.

    Returns:
        Whether the object comes from the module, a private submodule or its C accelerator.
    """
    origin = getattr(value, "__module__", None)
    if not isinstance(origin, str):
        return False
    twins = {name, f"_{name}"} | _OTHER_TWINS.get(name, frozenset())
    return origin in twins or origin.startswith(f"{name}._")


def _own_name_first(members: list[tuple[str, typing.Any]]) -> list[tuple[str, typing.Any]]:
    """Put aliases last, so that an object is listed under the name it calls itself.

    Returns:
        The members, common built-in types before all others, otherwise in their given order.
    """

    def rank(member: tuple[str, typing.Any]) -> tuple[bool, int]:
        name, value = member
        place = _COMMON_TYPES.index(name) if name in _COMMON_TYPES else len(_COMMON_TYPES)
        return getattr(value, "__name__", name) != name, place

    return sorted(members, key=rank)


def _class_docstring(cls: type) -> str | None:
    """Read the docstring that somebody wrote for a class.

    Returns:
        The docstring; None where there is none or where it only repeats the fields of a dataclass
        or a named tuple, as Python generates it.
    """
    docstring = vars(cls).get("__doc__")
    if not isinstance(docstring, str):
        return None
    is_record = is_dataclass(cls) or hasattr(cls, "_fields")
    if is_record and re.fullmatch(rf"{re.escape(cls.__name__)}\(.*\)", docstring, re.DOTALL):
        # The syntax tree's classes look alike, but their grammar line is written by hand.
        return docstring if cls.__module__ == "ast" else None
    return docstring


def _class_members(cls: type) -> Iterator[tuple[str, typing.Any, str]]:
    """List the documented public methods and properties of a class.

    Methods of public parents are left to the parents. Those of hidden parents (`_io._IOBase` behind
    `io.IOBase`) belong to the first public class, since nobody knows them under another name.

    Returns:
        An iterator over name, object and docstring.
    """
    layers = [vars(c) for c in cls.__mro__ if c is cls or _is_hidden(c)]
    names = dict.fromkeys(n for layer in layers for n in layer if not n.startswith("_"))
    for name, value in _own_name_first([(n, _first(layers, n)) for n in names]):
        if not _is_documentable(value):
            continue
        docstrings = (getattr(layer[name], "__doc__", None) for layer in layers if name in layer)
        docstring = next((d for d in docstrings if isinstance(d, str)), None)
        if docstring is not None:
            yield name, value, docstring


def _first(layers: list[types.MappingProxyType[str, typing.Any]], name: str) -> typing.Any:
    """Look a name up in the layers of a class.

    Returns:
        The first layer's object, as attribute lookup would find it.
    """
    return next(layer[name] for layer in layers if name in layer)


def _is_hidden(cls: type) -> bool:
    """Tell an implementation's base class from a public one.

    Returns:
        Whether the class or the module that defines it has a private name.
    """
    return any(part.startswith("_") for part in (*cls.__module__.split("."), cls.__name__))


def _is_documentable(value: object) -> bool:
    """Decide whether a class attribute is a method or a property.

    Returns:
        True for both; False for constants, nested classes and the fields of named tuples.
    """
    return inspect.isroutine(value) or isinstance(value, _METHODS_AND_PROPERTIES)


def _unwrap(value: object) -> object:
    """Find the object behind static, class and bound methods, which are made anew on each access.

    Returns:
        The underlying function, or the object itself.
    """
    return getattr(value, "__func__", value)


def _with_signature(name: str, value: object, text: str) -> str:
    """Put the call signature before a docstring.

    Returns:
        The docstring, unchanged where it starts with its own signature or none is known.
    """
    if not inspect.isroutine(value) or text.startswith(f"{name}("):
        return text
    signature = _signature(value)
    return text if signature is None else f"{name}{signature}\n{text}"


def _signature(value: object) -> str | None:
    """Write a call signature that is the same in every process.

    Returns:
        The parameters in parentheses, without `self`, without annotations and with `...` for
        defaults that have no stable form; None where Python knows no signature.
    """
    function = _unwrap(value)
    if not callable(function):
        return None
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError, AttributeError):
        # AttributeError: `inspect` cannot resolve the defaults of some `curses` methods, which
        # name constants that only exist once a screen is open.
        return None
    if parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    return str(inspect.Signature([_plain_parameter(p) for p in parameters]))


def _plain_parameter(parameter: inspect.Parameter) -> inspect.Parameter:
    """Strip from a parameter what is noise or differs between processes.

    Returns:
        The parameter without annotation and with a printable default.
    """
    default = parameter.default
    # Compared by exact type: an enum member is an int, but prints as an object.
    plain = type(default) in _PLAIN_DEFAULTS and not str(default).startswith(_OWN_PLACES)
    if default is not inspect.Parameter.empty and not plain:
        default = _Elided()
    return parameter.replace(annotation=inspect.Parameter.empty, default=default)


def main() -> None:
    """Read module names, write passages."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        json.dump(_Collector().collect(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
