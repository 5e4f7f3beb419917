"""`art export` as a command: its output, its model card, the Hub."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from command import run
from tiny_run import tiny_run

from art.interop.origin import origin_of
from art.retriever.loading import create_retriever


@pytest.fixture(scope="module")
def finished(tiny_bert, tiny_t5, corpus, tmp_path_factory) -> Path:
    """A finished run whose start states a licence."""
    import shutil

    from art.training.loop import train

    start = tmp_path_factory.mktemp("start") / "a [start]"
    shutil.copytree(tiny_bert, start)
    (start / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# A start\n")
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(tiny_run(folder, start, tiny_t5, corpus))
    return folder


@pytest.fixture(scope="module")
def saved(tiny_bert, tmp_path_factory) -> Path:
    """A retriever that nothing is known of."""
    folder = tmp_path_factory.mktemp("saved") / "art"
    create_retriever(str(tiny_bert), passage_length=64).save(folder)
    return folder


@pytest.mark.parametrize("name", ["", "retriever"])
def test_the_card_says_what_is_known(name, finished, tmp_path) -> None:
    output = tmp_path / "out"
    to = "sentence-transformers"
    assert run("export", "--retriever", finished / name, "--to", to, "--output", output) == 0
    card = (output / "README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["license"] == "cc-by-4.0"
    assert header["library_name"] == "sentence-transformers"
    assert "base_model" not in header  # a folder of this machine is no name on the Hub
    assert "start: a \\[start\\]" in card
    assert str(finished.parent) not in card
    result = json.loads((finished / "result.json").read_text())
    for digits in result["fingerprints"].values():
        assert digits in card
    assert "| | before training | after training |" in card
    assert "12 questions; in brackets 95 % intervals" in card
    share = 100 * result["after"]["top_1"]
    (line,) = (line for line in card.splitlines() if line.startswith("| top-1 |"))
    assert f"{share:.1f}" in line
    assert " to " in line


def test_the_table_is_left_out_of_other_weights(finished, tmp_path) -> None:
    import shutil

    shutil.copytree(finished / "retriever", tmp_path / "moved")
    assert origin_of(str(tmp_path / "moved")).table == ()
    assert origin_of(str(tmp_path / "moved")).licence == "cc-by-4.0"


def test_what_nobody_states_is_unknown(saved, tiny_bert) -> None:
    found = origin_of(str(saved))
    assert (found.start, found.licence, found.method) == ("unknown",) * 3
    assert origin_of(str(tiny_bert)).licence == "unknown"
    assert origin_of("pip:wordllama").start == "pip:wordllama"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "onxx"], "did you mean onnx?"),
        (["--to", "faiss"], "name it with --index"),
        (["--to", "hf-dpr", "--index", "x"], "leave --index out"),
        (["--to", "hf-dpr", "--passages", "x"], "name it with --index"),
        (["--to", "hf-dpr", "--push-to-hub", "a/b/c"], "not the name of a repository"),
    ],
)
def test_wrong_words_are_one_line(words, message, saved, tmp_path, capsys) -> None:
    output = tmp_path / "out"
    assert run("export", "--retriever", saved, "--output", output, *words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not output.exists()


def test_an_output_that_holds_something_is_left_alone(saved, tmp_path, capsys) -> None:
    words = ["export", "--retriever", saved, "--to", "hf-dpr", "--output", tmp_path / "out"]
    (tmp_path / "out").mkdir()
    assert run(*words) == 0  # an empty folder is filled
    before = sorted((tmp_path / "out").rglob("*"))
    assert run(*words) == 1
    assert "the output is there already" in capsys.readouterr().err
    assert sorted((tmp_path / "out").rglob("*")) == before


class Hub(BaseHTTPRequestHandler):
    """What the Hub answers to a small upload; keeps what it was sent."""

    asked: list[tuple[str, str, bytes]]
    refuses = False

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        self.asked.append((self.path, self.headers.get("Authorization", ""), body))
        if self.refuses:
            self._answer(403, {"error": "no write access"})
        elif self.path.endswith("/api/repos/create"):
            self._answer(200, {"url": f"http://{self.headers['Host']}/me/mine"})
        elif "/preupload/" in self.path:
            names = [one["path"] for one in json.loads(body)["files"]]
            rows = [{"path": one, "uploadMode": "regular", "shouldIgnore": False} for one in names]
            self._answer(200, {"files": rows})
        else:
            url = f"http://{self.headers['Host']}/me/mine/commit/0"
            self._answer(200, {"commitUrl": url, "commitOid": "0" * 40, "success": True})

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization", ""), b""))
        self._answer(200, {"id": "me/mine", "sha": "0" * 40, "siblings": []})

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, document: dict) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Stay silent."""


def upload(retriever: Path, output: Path, *, refuses: bool = False):
    """Export in a process of its own whose Hub is here; return what was asked of it, and it."""
    handler = type("Handler", (Hub,), {"asked": [], "refuses": refuses})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": "hf_test",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    words = ["export", "--retriever", retriever, "--to", "sentence-transformers"]
    words += ["--output", output, "--push-to-hub", "me/mine"]
    done = subprocess.run(
        [sys.executable, "-m", "art", *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
    )
    server.shutdown()
    server.server_close()
    return handler.asked, done


def test_the_hub_gets_every_file_when_asked(saved, tmp_path) -> None:
    asked, done = upload(saved, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert all(authorization == "Bearer hf_test" for _, authorization, _ in asked)
    paths = [path for path, _, _ in asked]
    created = json.loads(asked[paths.index("/api/repos/create")][2])
    assert created["name"] == "mine"
    assert created.get("private") is True or created.get("visibility") == "private"
    (commit,) = (body for path, _, body in asked if path.startswith("/api/models/me/mine/commit"))
    rows = [json.loads(line) for line in commit.splitlines()]
    sent = {row["value"]["path"] for row in rows if row["key"] == "file"}
    output = tmp_path / "out"
    assert sent == {str(one.relative_to(output)) for one in output.rglob("*") if one.is_file()}
    assert f"uploaded to http://127.0.0.1:{done.stdout.rsplit(':', 1)[1].split('/')[0]}" in (
        done.stdout
    )


def test_a_hub_that_refuses_is_one_line_and_the_folder_stays(saved, tmp_path) -> None:
    _, done = upload(saved, tmp_path / "out", refuses=True)
    assert done.returncode == 1
    assert "cannot upload to me/mine" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "modules.json").is_file()


def test_nothing_is_uploaded_unasked(saved, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it asks somebody"))
    words = ["export", "--retriever", saved, "--to", "sentence-transformers"]
    assert run(*words, "--output", tmp_path / "out") == 0
