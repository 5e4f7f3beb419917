"""A web server on this machine whose files can break off, change, move and refuse."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """A file of the server.

    Attributes:
        contents: whole.
        breaks_after: bytes that each answer sends before it breaks off, in turn; then none does.
        ranges: whether parts can be asked for.
        tagged: whether the server says which state of the file it has.
        location: where it is moved to; empty for nowhere.
        status: of every answer, where it is none of the usual ones.
        headers: besides the usual ones.
    """

    contents: bytes = b""
    breaks_after: list[int] = field(default_factory=list)
    ranges: bool = True
    tagged: bool = True
    location: str = ""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class WebServer:
    """A running server.

    Attributes:
        address: it begins with.
        files: path → what is served.
        asked: method, path and Range of each request.
    """

    address: str
    files: dict[str, Served] = field(default_factory=dict)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)


@contextmanager
def serving() -> Iterator[WebServer]:
    """Run a server until the block ends."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.daemon_threads = True
    http.web = WebServer(f"http://127.0.0.1:{http.server_address[1]}")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield http.web
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        web: WebServer = self.server.web
        path, wanted = self.path.partition("?")[0].lstrip("/"), self.headers.get("Range")
        web.asked.append((self.command, path, wanted))
        file = web.files.get(path)
        if file is None or file.status:
            self.send_error(404 if file is None else file.status)
            return
        if file.location:
            self.send_response(302)
            self.send_header("Location", file.location)
            self.end_headers()
            return
        tag = f'"{hashlib.sha256(file.contents).hexdigest()}"'
        same = self.headers.get("If-Range") in (None, tag)
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted and file.ranges and same else 0
        if start and start >= len(file.contents):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(file.contents)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            end = len(file.contents)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        for name, value in file.headers.items():
            self.send_header(name, value)
        if file.tagged:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(file.contents) - start))
        self.end_headers()
        if body:
            rest = file.contents[start:]
            self.wfile.write(rest[: file.breaks_after.pop(0)] if file.breaks_after else rest)
            self.close_connection = True
