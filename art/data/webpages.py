"""HTML as lines of text under their titles, with the standard library's parser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import unescape
from html.parser import HTMLParser

from art.data.headings import Line, Outline


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What no reader of the page would call its text.
_DROPPED = _names("script style nav template noscript svg iframe")
# Elements that are always closed, and with them whatever was left open inside.
_CONTAINERS = _names("html body main article section header footer aside div form table ul ol dl")
_HEADINGS = _names("h1 h2 h3 h4 h5 h6")
_BLOCKS = (
    _CONTAINERS
    | _DROPPED
    | _names("p pre li dt dd tr caption blockquote figure figcaption details summary address hr")
    | _names("fieldset legend thead tbody tfoot option select")
)
_SPACED = _names("br td th img input button")
# A script is looked through again with every piece that is fed: few large pieces, not lines.
_FED_CHARACTERS = 1 << 20


def html_lines(lines: Iterable[str], name: str) -> Iterator[Line]:
    """Yield a page's text with its titles; scripts, styles and navigation are dropped.

    Args:
        lines: of the document.
        name: its title where it has neither `<title>` nor a heading.
    """
    parser = _Parser(name)
    piece: list[str] = []
    size = 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= _FED_CHARACTERS:
            parser.feed("".join(piece))
            yield from parser.taken()
            piece, size = [], 0
    parser.feed("".join(piece))
    parser.finish()
    yield from parser.taken()


class _Parser(HTMLParser):
    def __init__(self, name: str) -> None:
        super().__init__(convert_charrefs=True)
        self._outline = Outline(name)
        self._lines: list[Line] = []
        self._text: list[str] = []  # of the block so far
        self._open: list[str] = []  # containers and dropped elements, outermost first
        self._num_dropped = 0  # of those
        self._in_heading = False
        self._in_title = False
        self._has_comment_end = True  # as far as is known

    def taken(self) -> list[Line]:
        """Return what was found since the last call."""
        if sum(map(len, self._text)) > _FED_CHARACTERS:
            self._give_beginning()
        lines, self._lines = self._lines, []
        return lines

    def feed(self, data: str) -> None:
        self._has_comment_end = True
        super().feed(data)

    def finish(self) -> None:
        # Behind the last `>` no tag can end; the library would look for its end from every `<`.
        end = self.rawdata.rfind(">") + 1
        self.rawdata, rest = self.rawdata[:end], self.rawdata[end:]
        self.close()
        self.handle_data(unescape(rest))
        self._end_block()
        self._lines += self._outline.end()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title" and not self._num_dropped:
            self._end_block()
            self._in_title = True
        elif tag in _HEADINGS and not self._num_dropped:
            self._end_block()
            self._in_heading = True
        elif tag in _BLOCKS:
            # `<h1><div>Title</div></h1>` is still a heading.
            if not self._in_heading or "".join(self._text).strip():
                self._end_block()
            if tag in _DROPPED or tag in _CONTAINERS:
                self._open.append(tag)
                self._num_dropped += tag in _DROPPED
        elif tag in _SPACED:
            self._text.append(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "title" or tag in _HEADINGS or tag in _BLOCKS:
            self._end_block()
        elif tag in _SPACED:
            self._text.append(" ")
        if tag in self._open:
            # A navigation that nobody closed ends with the element around it.
            while (closed := self._open.pop()) != tag:
                self._num_dropped -= closed in _DROPPED
            self._num_dropped -= tag in _DROPPED

    def parse_comment(self, i: int, report: bool = True) -> int:
        """Return where a comment ends, negative where it does not; that is looked for once."""
        found = super().parse_comment(i, report) if self._has_comment_end else -1
        self._has_comment_end = found >= 0
        return found

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """Pass over `<![…]>`, which is not HTML, and on whose ruins the library gives up."""
        return self.parse_bogus_comment(i)

    def handle_data(self, data: str) -> None:
        if not self._num_dropped:
            self._text.append(data)

    def _give_beginning(self) -> None:
        # No heading is this long: it was never closed.
        self._in_title = self._in_heading = False
        text = "".join(self._text)
        end = text.rfind("\n") + 1  # not within a word
        if end:
            self._lines += self._outline.text(text[:end])
            self._text = [text[end:]]

    def _end_block(self) -> None:
        text = "".join(self._text)
        self._text = []
        if self._in_title:
            self._lines += self._outline.name_document(text)
        elif self._in_heading:
            self._lines += self._outline.heading(text)
        elif text.strip():
            self._lines += self._outline.text(text)
            self._lines += self._outline.text("")
        self._in_title = self._in_heading = False
