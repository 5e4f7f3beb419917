"""The page about questions that a model wrote: what is drawn, counted and escaped."""

from __future__ import annotations

import json
from pathlib import Path

from html_page import Page
from tiny_run import HOSTILE

from art.asking.keeping import rejected_path
from art.report.asked import NUM_SHOWN, page_path, render_asked


def write(path: Path, count: int, **more: str) -> None:
    """Write questions of one to five words, each about a passage of its own."""
    rows = [
        {
            "id": f"asked-{i}",
            "question": " ".join(["who", f"w{i}", f"x{i}", "is", "here"][: 1 + i % 5]) + "?",
            "kind": "claim" if i % 4 == 0 else "question",
            "passage": {"id": f"p{i}", "title": "", "text": f"{HOSTILE} text {i} " + "long " * i},
            **more,
        }
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def made(folder: Path, *, num_kept: int = 400, num_rejected: int = 12) -> Path:
    output = folder / "my & questions.jsonl"
    write(output, num_kept)
    write(rejected_path(output), num_rejected, reason=f"too short {HOSTILE}")
    return output


def test_thirty_of_either_are_drawn_by_the_seed_with_their_passages(tmp_path: Path) -> None:
    output = made(tmp_path)
    page = render_asked(output, [], seed=0)
    assert page == render_asked(output, [], seed=0) != render_asked(output, [], seed=1)
    found = Page(page)
    assert page.count('<div class="question">') == NUM_SHOWN + 12
    assert f"Kept, {NUM_SHOWN} drawn at random" in found.text
    kept = found.text[found.text.index("Kept, ") : found.text.index("Rejected, ")]
    places = [i for i in range(400) if f" text {i} long" in kept]
    assert len(places) == NUM_SHOWN and max(places) > 100
    assert all(f"p{i}" in found.text for i in range(12))
    assert page_path(output) == tmp_path / "my & questions.html"


def test_whatever_a_passage_a_question_or_a_reason_holds_is_text(tmp_path: Path) -> None:
    output = made(tmp_path)
    page = render_asked(output, [HOSTILE], seed=0)
    found = Page(page)
    assert page.startswith("<!DOCTYPE html>")
    assert {tag for tag, _ in found.tags} & {"script", "img", "link", "iframe"} == set()
    assert not [name for _, one in found.tags for name in one if name.startswith("on")]
    assert f"rejected: too short {HOSTILE}" in found.text and HOSTILE in found.text
    assert "long " * 280 in page and "long " * 300 not in page  # a long passage is cut


def test_what_they_are_like_stands_beside_real_questions(tmp_path: Path) -> None:
    output = made(tmp_path)
    real = ["where is it now?", "what is it", "where was it before that"]
    found = Page(render_asked(output, real, seed=0))
    assert found.row("") == ["questions", "%"]
    assert found.row("kept") == ["400", "97.1"]
    assert found.row(f"too short {HOSTILE}") == ["12", "2.9"]
    assert found.row("questions") == ["400", "12", "3"]
    lengths = found.row("words of a question, median (10 % to 90 %)")
    assert lengths == ["3 (1 to 5)", "2 (1 to 5)", "4 (3 to 5)"]
    # As many words of each group: the twelve of the smallest.
    *_, of_real = found.row("distinct words among 12")
    assert of_real == "8"
    assert found.row("most frequent first words, %")[2] == "where 66.7, what 33.3"
    assert found.row("with a question mark at the end, %") == ["100.0", "100.0", "33.3"]
    assert found.row("asked for as claim, %") == ["25.0", "25.0", "–"]
    assert "With --questions FILE" not in found.text


def test_without_real_questions_or_rejected_ones_there_is_the_rest_of_the_page(tmp_path) -> None:
    found = Page(render_asked(made(tmp_path, num_kept=1, num_rejected=0), [], seed=0))
    assert found.row("questions") == ["1", "0"]
    assert "With --questions FILE" in found.text and "Rejected, 0 drawn" in found.text
