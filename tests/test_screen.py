"""What is printed, in encodings that lack half of it, and to readers that leave."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from command import run
from tiny_run import tiny_run

from art import cli
from art.errors import notify

COMMANDS = sorted(typer.main.get_command(cli.app).commands)
ENCODINGS = ["ascii", "latin-1", "cp1252"]


class Screen:
    """A standard output and error in some encoding, for commands in this process."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self._bytes = io.BytesIO()

    @contextmanager
    def shown(self) -> Iterator[None]:
        stream = io.TextIOWrapper(self._bytes, self.encoding, errors="strict", write_through=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            yield
        stream.detach()

    def run(self, *words: object) -> int:
        with self.shown():
            return run(*words)

    def text(self) -> str:
        """Return what was printed; all of it was in that encoding."""
        return self._bytes.getvalue().decode(self.encoding)


@pytest.fixture(params=ENCODINGS)
def screen(request: pytest.FixtureRequest) -> Screen:
    return Screen(request.param)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_can_be_printed(command, screen) -> None:
    assert screen.run(*filter(None, [command]), "--help") == 0
    assert "Usage" in screen.text()


@pytest.fixture(scope="module")
def files(corpus, tiny_bert, tiny_t5, tmp_path_factory) -> Path:
    """A run's settings with a corpus whose titles no such encoding has, and an index."""
    folder = tmp_path_factory.mktemp("printed")
    named = [(name, f"東京 → {title} …", text) for name, title, text in corpus]
    config = tiny_run(folder / "run", tiny_bert, tiny_t5, named, max_steps=2)
    (folder / "run.yaml").write_text(config.to_yaml(), encoding="utf-8")
    words = ["embed", "--retriever", tiny_bert, "--passage-length", 64, "--question-length", 32]
    words += ["--passages", folder / "run data" / "passages.jsonl", "--cpu"]
    assert run(*words, "--output", folder / "index") == 0
    return folder


def searched(files: Path, bert: Path) -> list[object]:
    own = ["--retriever", bert, "--passage-length", 64, "--question-length", 32, "--cpu"]
    return [*own, "--index", files / "index"]


def test_plans_training_and_reports_can_be_printed(files, tmp_path) -> None:
    screen = Screen("ascii")
    words = ["train", "--config", files / "run.yaml", "--output.folder", tmp_path / "rün"]
    assert screen.run(*words, "--dry-run") == 0
    assert screen.run(*words) == 0
    assert screen.run("report", tmp_path / "rün", "--output", tmp_path / "rün ….html") == 0
    assert "r\\xfcn ....html is written" in screen.text()


def test_complaints_can_be_printed(screen, tmp_path) -> None:
    assert screen.run("report", tmp_path / "rün →", "--output", tmp_path / "r.html") == 1
    name = "r\\xfcn" if screen.encoding == "ascii" else "rün"
    assert f"{name} ->: not a run folder" in screen.text()


def test_an_evaluation_is_written_before_it_is_printed(
    files, tiny_bert, tmp_path, monkeypatch, screen
) -> None:
    dev = files / "run data" / "dev.jsonl"
    monkeypatch.setattr("builtins.print", lambda *words: pytest.fail("of the printer"))
    with pytest.raises(pytest.fail.Exception, match="of the printer"):
        screen.run(
            "evaluate", *searched(files, tiny_bert), "--questions", dev,
            "--output", tmp_path / "metrics.json",
        )  # fmt: skip
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"]["top_1"] >= 0


def test_answers_at_a_pipe_can_be_printed(files, tiny_bert, screen, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("where is the moon ?\n"))
    assert screen.run("search", *searched(files, tiny_bert)) == 0
    assert "\\u6771\\u4eac -> title" in screen.text()


def test_a_search_at_a_pipe_ends_with_its_reader(files, tiny_bert, monkeypatch) -> None:
    read, written = os.pipe()
    os.close(read)
    questions = io.StringIO("where is the moon ?\n" * 100)
    left = io.TextIOWrapper(io.BufferedWriter(cli.screen._Lasting(written, "wb")))
    monkeypatch.setattr(sys, "stdin", questions)
    monkeypatch.setattr(sys, "stdout", left)
    assert run("search", *searched(files, tiny_bert)) == 0
    assert len(questions.readlines()) == 99


def test_notes_can_be_printed(screen) -> None:
    with screen.shown():
        cli.screen.prepare()
        notify("a text … of 3 × 4 → 東")
    assert "3 " in screen.text()


def test_what_the_user_asked_for_in_place_of_such_signs_stays(monkeypatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", errors="replace")
    monkeypatch.setattr(sys, "stdout", stream)
    cli.screen.prepare()
    assert stream.errors == "replace"


# A process of its own: its outputs are files and pipes of the system


def art(*words: object, shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = " ".join([sys.executable, "-m", "art", *map(str, words), shell])
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        env=os.environ | environment,
        capture_output=True,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_may_leave(unbuffered) -> None:
    # It leaves before there is anything to read.
    done = art("search --help 2>&1", shell="| true", PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_closed_output_is_no_fault() -> None:
    done = art("search --help >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_output_is_one_line(unbuffered) -> None:
    done = art("search --help > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 1
    assert done.stderr == b"error: the standard output: cannot write: No space left on device\n"


def test_a_locale_without_letters_prints_plain_signs() -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = art("train --help", **plain)
    assert done.returncode == 0, done.stderr
    assert b"[--section.key value ...]" in done.stdout.splitlines()[0]
    done = art("report größe --output r.html", **plain)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"not a run folder" in done.stderr
