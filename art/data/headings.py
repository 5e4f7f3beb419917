"""Lines of a document, each under the title that its passage will have."""

from __future__ import annotations

# A title and a piece of text under it. An empty text ends a paragraph.
Line = tuple[str, str]

# Badges and the like before the first heading; behind more than this the name is the title.
_HELD_CHARACTERS = 10_000


class Outline:
    """Puts the document's title and the current section's heading over its text.

    The first heading is the document's title, for the text before it too. A later heading without
    text of its own begins the text of the next section, so that no heading gets lost.

    Args:
        name: the document's title where it has neither a title nor a heading.
    """

    def __init__(self, name: str) -> None:
        self._document = name
        self._named = False
        self._section = ""
        self._held: list[str] = []  # text before the document's title is known
        self._num_held = 0  # characters of it
        self._waiting: list[str] = []  # headings whose sections turned out to be empty
        self._section_is_empty = False

    def name_document(self, title: str) -> list[Line]:
        """Take a title that the document gives itself; return the text that waited for one."""
        title = " ".join(title.split())
        if not title or self._named:
            return []
        self._document, self._named = title, True
        return self._release()

    def heading(self, heading: str) -> list[Line]:
        """Start a section; return the text that waited for the document's title."""
        heading = " ".join(heading.split())
        if not heading:
            return []
        if not self._named:
            return self.name_document(heading)
        if self._section_is_empty:
            self._waiting.append(self._section)
        # A page is often called `Install - Our product` and begins with the heading `Install`.
        repeated = self._document.casefold().startswith(heading.casefold())
        self._section = "" if repeated else heading
        self._section_is_empty = not repeated
        return []

    def text(self, text: str) -> list[Line]:
        """Return a piece of text under its title; an empty one ends a paragraph."""
        if not self._named:
            self._held.append(text)
            self._num_held += len(text) + 1
            if self._num_held < _HELD_CHARACTERS:
                return []
            self._named = True
            return self._release()
        if not text.strip():
            return [(self._title(), "")]
        self._section_is_empty = False
        return [*self._waited(), (self._title(), text)]

    def end(self) -> list[Line]:
        """Return what still waited when the document ended."""
        lines = self._release()
        if self._section_is_empty:
            self._waiting.append(self._section)
        return [*lines, *self._waited()]

    def _title(self) -> str:
        return " - ".join(part for part in (self._document, self._section) if part)

    def _release(self) -> list[Line]:
        lines = [(self._title(), text) for text in self._held]
        self._held = []
        return lines

    def _waited(self) -> list[Line]:
        title = self._title()
        lines = [line for heading in self._waiting for line in ((title, heading), (title, ""))]
        self._waiting = []
        return lines
