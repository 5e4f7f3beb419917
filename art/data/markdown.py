"""Markdown as lines of text under their titles: what a reader sees, without the marks.

Not a renderer: paragraphs are found line by line, in constant memory, and inside them links, images
and emphasis are reduced to their text. Code stays as it is written.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

from art.data.headings import Line, Outline

_FRONT_MATTER_LINES = 500
_PARAGRAPH_LINES = 500  # a longer one is given out in parts

_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]+|$)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)[ \t]*$")
_RULE = re.compile(r" {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|=+[ \t]*)$")
_FENCE = re.compile(r"\s*(?:(?:[-*+]|\d+[.)])\s+)?(`{3,}(?=[^`]*$)|~{3,})")
_QUOTE = re.compile(r" {0,3}(?:> ?)+")
_BULLET = re.compile(r"\s*[-*+](?:[ \t]+(?:\[[ xX]\][ \t]+)?|$)")
_NUMBERED = re.compile(r"\s*\d{1,9}[.)][ \t]")
_TABLE_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$")
_DEFINITION = re.compile(
    r" {0,3}\[[^\]^][^\]]*\]:[ \t]*\S+(?:[ \t]+(?:\"[^\"]*\"|'[^']*'))?[ \t]*$"
)
_FRONT_TITLE = re.compile(r"title\s*[:=]\s*(.+)$", re.IGNORECASE)
_FRONT_KEY = re.compile(r"[\w.-]+\s*[:=]")

_LITERAL = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)|\\([!-/:-@\[-`{-~])", re.DOTALL)
_KEPT = re.compile("\0(\\d+)\0")
_ADDRESS = re.compile(r"<((?:https?|ftp|mailto):[^<>\s]+)>")
# An address, in angle brackets where it holds spaces, and a title in quotation marks.
_TARGET = r"\(\s*(?:<[^<>]*>|(?:[^()\s]|\([^()\s]*\))*)(?:\s+(?:\"[^\"]*\"|'[^']*'))?\s*\)"
_IMAGE = re.compile(r"!\[([^\[\]]*)\](?:" + _TARGET + r"|\[[^\[\]]*\])")
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]" + _TARGET)
# Not behind a letter: `a[0][1]` is no link.
_REFERENCE = re.compile(r"(?<![\w\]])\[([^\[\]^][^\[\]]*)\]\[[^\[\]]*\]")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]+\]:?")
_STRONG = re.compile(r"\*\*(?=\S)((?:[^*]|\*(?!\*))+?)(?<=\S)\*\*")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*]+?)(?<=\S)\*(?!\*)")
_STRUCK = re.compile(r"~~(?=\S)([^~]+?)~~")
# Names of elements only: `<your-name>` and `List<String>` are words of the author's.
_TAG = re.compile(
    r"</?(?:a|abbr|article|b|blockquote|br|center|code|dd|del|details|div|dl|dt|em|figure|"
    r"figcaption|font|footer|h[1-6]|header|hr|i|img|ins|kbd|li|main|mark|ol|p|picture|pre|s|samp|"
    r"section|small|source|span|strong|sub|summary|sup|table|tbody|td|tfoot|th|thead|tr|u|ul|var|"
    r"video)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)


def markdown_lines(lines: Iterable[str], name: str) -> Iterator[Line]:
    """Yield a Markdown document's text with its titles.

    Front matter gives its title and is dropped otherwise; so are comments, link definitions and
    the marks themselves. Every list item and every row of a table is a paragraph.

    Args:
        lines: of the document.
        name: its title where it has none.
    """
    outline = Outline(name)
    reader = _Reader(outline)
    for line in _after_front_matter(iter(lines), outline):
        yield from reader.line(line.rstrip("\r\n"))
    yield from reader.end()


def _after_front_matter(lines: Iterator[str], outline: Outline) -> Iterator[str]:
    first = next(lines, "")
    ends = {"---": ("---", "..."), "+++": ("+++",)}.get(first.rstrip(), ())
    held = [first]
    closed = False
    while ends and not closed and len(held) < _FRONT_MATTER_LINES:
        line = next(lines, None)
        if line is None:
            break
        held.append(line)
        closed = line.rstrip() in ends
    # Two rules with prose between them are no front matter.
    if closed and (len(held) == 2 or any(_FRONT_KEY.match(line) for line in held[1:-1])):
        titles = (match[1] for line in held if (match := _FRONT_TITLE.match(line.rstrip())))
        outline.name_document(next(titles, "").strip().strip("\"'"))
    else:
        yield from held
    yield from lines


class _Reader:
    """The state between two lines: a fence or a comment that is open, a paragraph so far."""

    def __init__(self, outline: Outline) -> None:
        self._outline = outline
        self._paragraph: list[str] = []
        self._is_prose = False  # the paragraph may be a heading, if a line of dashes follows
        self._fence = ""
        self._fence_is_quoted = False
        self._in_comment = False

    def line(self, line: str) -> list[Line]:
        if self._fence:
            return self._code(line)
        if self._in_comment or line.lstrip().startswith("<!--"):
            _, closed, line = line.partition("-->")
            self._in_comment = not closed
            if not line.strip():
                return []
        quote = _QUOTE.match(line)
        line = line[quote.end() :] if quote else line
        if fence := _FENCE.match(line):
            self._fence, self._fence_is_quoted = fence[1], quote is not None
            return self._flush()
        if heading := _HEADING.match(line):
            text = _inline(_without_closing_marks(line[heading.end() :]))
            if quote:  # what somebody else's heading stands over is not this document's section
                return [*self._flush(), *self._outline.text(text), *self._outline.text("")]
            return [*self._flush(), *self._outline.heading(text)]
        if self._is_prose and len(self._paragraph) == 1 and _UNDERLINE.match(line):
            text = _inline(self._paragraph.pop())
            return [*self._flush(), *self._outline.heading(text)]
        return self._text(line, quoted=quote is not None)

    def end(self) -> list[Line]:
        return [*self._flush(), *self._outline.end()]

    def _code(self, line: str) -> list[Line]:
        if self._fence_is_quoted and (quote := _QUOTE.match(line)):
            line = line[quote.end() :]
        mark = line.strip()
        if len(mark) >= len(self._fence) and not mark.strip(self._fence[0]):
            self._fence = ""
            return self._outline.text("")
        return self._outline.text(line) if mark else []

    def _text(self, line: str, *, quoted: bool) -> list[Line]:
        if not line.strip() or any(
            pattern.match(line) for pattern in (_RULE, _TABLE_RULE, _DEFINITION)
        ):
            return self._flush()
        if line.lstrip().startswith("|"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            return [*self._flush(), *self._whole(" ".join(cell.strip() for cell in cells))]
        bullet = _BULLET.match(line)
        if bullet or _NUMBERED.match(line):
            given = self._flush()
            self._paragraph = [line[bullet.end() :] if bullet else line]
            return given
        given = self._flush() if len(self._paragraph) >= _PARAGRAPH_LINES else []
        self._is_prose = not self._paragraph and not quoted
        self._paragraph.append(line)
        return given

    def _flush(self) -> list[Line]:
        text = "\n".join(self._paragraph)
        self._paragraph = []
        self._is_prose = False
        return self._whole(text)

    def _whole(self, text: str) -> list[Line]:
        return [*self._outline.text(_inline(text)), *self._outline.text("")]


def _without_closing_marks(heading: str) -> str:
    heading = heading.strip()
    shorter = heading.rstrip("#")
    return heading if shorter.strip() and not shorter[-1].isspace() else shorter  # `C#` stays


def _without_comments(text: str) -> str:
    # Not by an expression, which would look for the end anew behind every beginning.
    parts, position = [], 0
    while (start := text.find("<!--", position)) >= 0 and (end := text.find("-->", start)) >= 0:
        parts += [text[position:start], " "]
        position = end + 3
    return "".join([*parts, text[position:]])


def _inline(text: str) -> str:
    """Return the text of a paragraph without marks; code spans and escaped characters stay."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[2] if match[1] else match[3])
        return f"\0{len(kept) - 1}\0"

    text = _LITERAL.sub(keep, text.replace("\0", "\ufffd"))
    text = _ADDRESS.sub(r"\1", _without_comments(text))
    for pattern in (_IMAGE, _LINK, _REFERENCE):
        text = pattern.sub(r"\1", text)
    text = _TAG.sub(" ", _FOOTNOTE.sub("", text))
    for pattern in (_STRONG, _EMPHASIS, _STRUCK):
        text = pattern.sub(r"\1", text)
    return _KEPT.sub(lambda match: kept[int(match[1])], html.unescape(text))
