"""Markdown and HTML: the words a reader sees, under the titles they stand under."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art.data.markdown import markdown_lines
from art.data.webpages import html_lines


def markdown(text: str, name: str = "name") -> list[tuple[str, str]]:
    return _together(markdown_lines(text.splitlines(keepends=True), name))


def webpage(text: str, name: str = "name") -> list[tuple[str, str]]:
    return _together(html_lines(text.splitlines(keepends=True), name))


def _together(lines) -> list[tuple[str, str]]:
    return [(title, " ".join(text.split())) for title, text in lines if text.strip()]


def only(text: str) -> str:
    ((_, found),) = markdown(text)
    return found


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("See [the docs](https://x.y/a_(b) 'T') now", "See the docs now"),
        ("[a `code` b](x.md)", "a code b"),
        ("[over two\nlines](x.md)", "over two lines"),
        ("[![badge](b.svg)](https://ci) ok", "badge ok"),
        ("![a figure](<my file.png>)", "a figure"),
        ("[text][ref] and [text][]", "text and text"),
        ("<https://a.b/c>", "https://a.b/c"),
        ("**bold** *it* ***both*** ~~old~~", "bold it both old"),
        ("2 * 3 * 4, 2*3*4, **kwargs", "2 * 3 * 4, 2*3*4, **kwargs"),
        ("snake_case and __init__", "snake_case and __init__"),
        ("`[a](b) **c** &amp;` stays", "[a](b) **c** &amp; stays"),
        ("`` a ` b ``", "a ` b"),
        (r"\*not\* \[a](b)", "*not* [a](b)"),
        ("a &lt; b &amp;&nbsp;c", "a < b & c"),
        ("x<br>y <b>z</b> <your-name>", "x y z <your-name>"),
        ("a <!-- hidden\nword --> b", "a b"),
        ("said[^1].", "said."),
        ("array[0][1] and f(x)[i](see above)", "array[0][1] and f(x)[i](see above)"),
        ("[x] and [y]", "[x] and [y]"),
    ],
)
def test_marks_are_reduced_to_their_text(source, text):
    assert only(source) == text


def test_titles_are_the_first_heading_and_the_sections():
    source = "intro\n\n# The *Guide* #\na\n## Use\nb\n\nInstall\n-------\nc\n# Guide 2\nd\n"
    assert markdown(source) == [
        ("The Guide", "intro"),
        ("The Guide", "a"),
        ("The Guide - Use", "b"),
        ("The Guide - Install", "c"),
        ("The Guide - Guide 2", "d"),
    ]


def test_a_document_without_a_heading_is_called_by_its_name():
    assert markdown("moon") == [("name", "moon")]


def test_an_empty_sections_heading_begins_the_next_text():
    assert markdown("# T\n## A\n### B\ntext\n## C\n") == [
        ("T - B", "A"),
        ("T - B", "text"),
        ("T - C", "C"),
    ]


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("---\nlayout: x\ntitle: 'The Moon'\n---\nfar", "The Moon"),
        ('+++\ntitle = "The Moon"\n+++\nfar', "The Moon"),
        ("---\ntags: [a]\n---\n# The Moon\nfar", "The Moon"),
        ("---\ntitle: The Moon\n---\n# The Moon\nfar", "The Moon"),
        ("---\ntitle: The Moon\n---\n# Orbit\nfar", "The Moon - Orbit"),
    ],
)
def test_front_matter_gives_its_title_and_no_text(source, title):
    assert markdown(source) == [(title, "far")]


def test_two_rules_are_no_front_matter():
    assert markdown("---\nProse here\n\n---\nmore") == [("name", "Prose here"), ("name", "more")]
    assert markdown("---\nnever closed: x") == [("name", "never closed: x")]


def test_code_stays_as_it_is_and_has_no_headings():
    source = "# T\n```python\n# comment\nx = a[0](1) **\n~~~\n```\nafter\n~~~\n# open to the end"
    assert markdown(source) == [
        ("T", "# comment"),
        ("T", "x = a[0](1) **"),
        ("T", "~~~"),
        ("T", "after"),
        ("T", "# open to the end"),
    ]


def test_lists_tables_quotes_and_rules_lose_their_marks_only():
    source = (
        "- one\n  two\n* [ ] task\n3. third\n\n> said\n> more\n> # Theirs\n\n***\n"
        "| a | `b` |\n|---|:-:|\n| c \\| d | |\n\n[ref]: https://x 'T'\n<!-- a\n\nb -->end\n"
    )
    assert [text for _, text in markdown(source)] == [
        "one two",
        "task",
        "3. third",
        "said more",
        "Theirs",
        "a b",
        "c | d",
        "end",
    ]


words = st.text(st.characters(categories=["Ll", "Lu"]), min_size=1, max_size=8)
paragraphs = st.lists(st.lists(words, min_size=1, max_size=12), max_size=8)


@settings(max_examples=60, deadline=None)
@given(paragraphs, st.sampled_from(["{}", "- {}", "> {}", "**{}**", "[{}](x)", "| {} |", "1. {}"]))
def test_no_word_of_markdown_is_lost(paragraphs, shape):
    source = "\n\n".join(shape.format(" ".join(one)) for one in paragraphs)
    text = " ".join(text for _, text in markdown(f"# T\n\n{source}"))
    expected = [word for one in paragraphs for word in one]
    assert [word for word in text.split() if word != "1."] == expected


@settings(max_examples=60, deadline=None)
@given(paragraphs, st.sampled_from(["<p>{}</p>", "<li>{}", "<div><b>{}</b></div>", "<td>{}</td>"]))
def test_no_word_of_a_page_is_lost(paragraphs, shape):
    source = "\n".join(shape.format(" ".join(one)) for one in paragraphs)
    text = " ".join(text for _, text in webpage(f"<title>T</title>{source}"))
    assert text.split() == [word for one in paragraphs for word in one]


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("#*_`~[]()<>!|-=\\\n a1.&;/ph\0"), max_size=120))
def test_no_text_is_beyond_the_readers(text):
    markdown(text)
    webpage(text)


def test_a_page_keeps_titles_and_text_and_drops_the_rest():
    source = """<!doctype html><html><head><title>Install &mdash; Docs</title>
<style>p { color: red }</style><script>if (a < b) document.write("<p>no</p>")</script></head>
<body><nav><ul><li>Home</ul></nav><h1>Install</h1><p>First &amp; second.<br>Third.
<p>un<b>believ</b>able&nbsp;text<h2><div>On <i>Linux</i></div></h2><ul><li>a<li>b</ul>
<table><tr><th>x<td>y</table><svg><title>no</title></svg><!-- no -->end</body></html>"""
    assert webpage(source) == [
        ("Install — Docs", "First & second. Third."),
        ("Install — Docs", "unbelievable text"),
        ("Install — Docs - On Linux", "a"),
        ("Install — Docs - On Linux", "b"),
        ("Install — Docs - On Linux", "x y"),
        ("Install — Docs - On Linux", "end"),
    ]


def test_a_navigation_that_is_never_closed_ends_with_its_parent():
    assert webpage("<h1>T</h1><div><nav><a>Home</a></div><p>moon") == [("T", "moon")]


def test_a_page_is_read_in_pieces(monkeypatch):
    source = "<h1>T</h1><script>" + "no()\n" * 50 + "</script>" + "<p>moon\nriver</p>\n" * 50
    whole = webpage(source)
    monkeypatch.setattr("art.data.webpages._FED_CHARACTERS", 7)
    assert webpage(source) == whole == [("T", "moon river")] * 50


@pytest.mark.parametrize("reader", [markdown_lines, html_lines])
def test_memory_does_not_grow_with_the_document(reader, monkeypatch):
    monkeypatch.setattr("art.data.webpages._FED_CHARACTERS", 10_000)

    def peak(num_lines: int) -> int:
        tracemalloc.start()
        for _ in reader((f"moon river {i}\n" for i in range(num_lines)), "name"):
            pass
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(10)  # what is allocated once
    assert peak(40_000) < 1.5 * peak(4_000)


def test_a_long_text_before_the_first_heading_does_not_wait_for_it():
    lines = markdown("moon\n\n" * 5_000 + "# T\nriver")
    assert lines[0] == ("name", "moon")
    assert lines[-1] == ("name - T", "river")
    assert len(lines) == 5_001
