"""The model card: `README.md` of an exported folder, for people and for the Hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from art import __version__
from art.errors import one_line

if TYPE_CHECKING:
    from art.interop.exports.base import Export, Exported
    from art.interop.origin import Origin

_TABLE_HEAD = ("| | before training | after training |", "|---|---:|---:|")


def model_card(
    name: str, target: Export, source: Exported, origin: Origin, notes: Sequence[str]
) -> str:
    """Return the card in Markdown.

    Args:
        name: of the exported folder.
        target: of the export.
        source: what is exported.
        origin: how it was made.
        notes: what is otherwise in this target.
    """
    sections = [
        "\n".join(["---", *_header(target, origin), "---"]),
        f"# {_plain(name)}",
        _summary(target, source),
        f"## How to use it\n\n{target.usage(source)}",
        *([_list("## What is otherwise there", map(_plain, notes))] if notes else []),
        _list("## What it is", _what(source)),
        _list("## How it was made", _made(origin)),
        *_results(origin),
        *_fingerprints(source, origin),
        f"## Licence\n\nThe start's own: {_plain(origin.licence)}. These weights come from it.",
    ]
    return "\n\n".join(sections) + "\n"


def _header(target: Export, origin: Origin) -> Iterator[str]:
    if target.library:
        yield f"library_name: {target.library}"
    yield "pipeline_tag: sentence-similarity"
    yield f"license: {_yaml(_hub_licence(origin.licence))}"
    if origin.hub_start:
        yield f"base_model: {_yaml(origin.start)}"
    yield "tags:"
    tags = ["dense-retrieval", "art-retriever", "feature-extraction"]
    if target.library == "sentence-transformers":
        tags.insert(0, target.library)
    yield from (f"- {tag}" for tag in tags)


def _hub_licence(licence: str) -> str:
    """Return the Hub's word for a licence: SPDX names in small letters."""
    return licence.lower() if " " not in licence else "other"


def _summary(target: Export, source: Exported) -> str:
    kind = "An index of passage vectors" if target.needs_index else "A dense retriever"
    towers = "one encoder for questions and passages" if source.tied else "two encoders"
    return (
        f"{kind}: {towers}, vectors of {source.passage.embedding_size} numbers. Written by "
        f"art-retriever {__version__} for {target.name}."
    )


def _what(source: Exported) -> Iterator[str]:
    question, passage = source.question, source.passage
    if passage.normalize:
        scale = "scaled to length 1, so that inner product and cosine are one"
    else:
        scale = "not scaled; compare them by inner product"
    yield f"encoder: {_plain(passage.backbone.config.model_type)}, {passage.pooling} pooling"
    for layer, activation in passage.projection:
        name = type(activation).__name__
        then = "" if name == "Identity" else f", then {name}"
        sizes = f"{layer.in_features} to {layer.out_features}"
        yield f"a linear layer behind the pooling, {sizes}{then}"
    yield f"vectors: {scale}"
    yield (
        f"at most {question.max_length} tokens of a question and {passage.max_length} of a passage"
    )
    for parts in (question, passage):
        if parts.prefix:
            yield f"before every {parts.side}: {_code(parts.prefix)}"
    yield f"trained at a temperature of {passage.temperature:.4g}"


def _made(origin: Origin) -> Iterator[str]:
    yield f"start: {_plain(origin.start)}"
    yield f"method: {_plain(origin.method)}"
    if origin.step is not None:
        yield f"weights of step {origin.step:,}"


def _results(origin: Origin) -> Iterator[str]:
    if origin.table:
        rows = (f"| {one.title} | {one.before} | {one.after} |" for one in origin.table)
        count = f"{origin.num_questions:,} questions; in brackets 95 % intervals (Wilson)."
        yield "\n".join(["## Results", "", count, "", *_TABLE_HEAD, *rows])


def _fingerprints(source: Exported, origin: Origin) -> Iterator[str]:
    found = {f"{name} of the training": digits for name, digits in origin.fingerprints.items()}
    if source.index is not None:
        found["passages of this index"] = source.index.store_fingerprint
        found["retriever of this index"] = source.index.retriever_fingerprint
    if found:
        rows = (f"{_plain(name)}: {_code(str(digits))}" for name, digits in found.items())
        yield _list("## Fingerprints", rows)


def _list(title: str, lines: Iterator[str]) -> str:
    return "\n".join([title, "", *(f"- {line}" for line in lines)])


def _plain(text: str) -> str:
    """Return a text on one line that Markdown does not take for markup."""
    return "".join(f"\\{one}" if one in "\\`*_[]<>#|" else one for one in one_line(text))


def _code(text: str) -> str:
    return f"`{json.dumps(text, ensure_ascii=False)}`" if "`" not in text else _plain(text)


def _yaml(text: str) -> str:
    return json.dumps(one_line(text))  # a JSON string is a YAML string
