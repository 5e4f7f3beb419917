"""Files that several machines write on one disk."""

from __future__ import annotations

import os
import platform

from art.files import atomic_write


def test_two_machines_with_one_process_id_write_the_same_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)
    names = iter(["node-1.cluster", "node-2.cluster"])
    monkeypatch.setattr(platform, "node", lambda: next(names))
    with atomic_write(tmp_path / "file") as first, atomic_write(tmp_path / "file") as second:
        beside = sorted(path.name for path in tmp_path.iterdir())
        first.write(b"one")
        second.write(b"two")
    assert beside == [".file.node-1.7.tmp", ".file.node-2.7.tmp"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
