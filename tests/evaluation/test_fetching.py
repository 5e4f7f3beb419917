"""Data sets fetched from a server on this machine: resumed, checked, and kept in their folder."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from command import run
from full_disk import told_when_full
from huggingface_hub import constants
from web_server import Served, WebServer, serving

from art import network
from art.errors import ArtError
from art.evaluation.benchmarks.archives import unpack
from art.evaluation.benchmarks.download import download, size_of
from art.evaluation.benchmarks.fetching import fetch, find
from art.evaluation.benchmarks.registry import DATA_SETS, DataSet, RemoteFile

CONTENTS = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def _online_and_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with serving() as running:
        yield running


@pytest.fixture
def web(server: WebServer) -> WebServer:
    server.files.clear()
    server.asked.clear()
    server.files["a"] = Served(CONTENTS)
    return server


def ranges(web: WebServer) -> list[str | None]:
    return [wanted for method, _, wanted in web.asked if method == "GET"]


def test_a_file_comes_whole_and_with_its_checksum(web: WebServer, tmp_path: Path) -> None:
    found = download(f"{web.address}/a", tmp_path / "new" / "a")
    assert (tmp_path / "new" / "a").read_bytes() == CONTENTS
    assert found == hashlib.sha256(CONTENTS).hexdigest()
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["a"]
    assert size_of(f"{web.address}/a") == len(CONTENTS)


def test_a_broken_connection_is_gone_on_with_where_it_broke(web: WebServer, tmp_path: Path) -> None:
    web.files["a"].breaks_after = [4000, 0, 1000]
    download(f"{web.address}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENTS
    assert ranges(web) == [None, "bytes=4000-", "bytes=4000-", "bytes=5000-"]


def test_a_connection_that_breaks_again_and_again_leaves_what_has_come(
    web: WebServer, tmp_path: Path
) -> None:
    web.files["a"].breaks_after = [4000, *[0] * 4]
    with pytest.raises(ArtError, match="the same command goes on later"):
        download(f"{web.address}/a", tmp_path / "a")
    assert not (tmp_path / "a").exists()
    web.asked.clear()
    download(f"{web.address}/a", tmp_path / "a")  # as after a kill
    assert (tmp_path / "a").read_bytes() == CONTENTS
    assert ranges(web) == ["bytes=4000-"]


@pytest.mark.parametrize(
    "change",
    [
        lambda file: setattr(file, "contents", CONTENTS[::-1]),
        lambda file: setattr(file, "contents", CONTENTS[:100]),
        lambda file: setattr(file, "ranges", False),
    ],
)
def test_a_file_that_changed_or_has_no_parts_is_begun_again(
    change: Callable[[Served], None], web: WebServer, tmp_path: Path
) -> None:
    web.files["a"].breaks_after = [4000, *[0] * 5]
    with pytest.raises(ArtError):
        download(f"{web.address}/a", tmp_path / "a")
    web.files["a"].breaks_after = []
    change(web.files["a"])
    download(f"{web.address}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == web.files["a"].contents


def test_a_server_that_does_not_say_which_file_it_has_is_asked_for_all_of_it(
    web: WebServer, tmp_path: Path
) -> None:
    web.files["a"] = Served(CONTENTS, breaks_after=[4000], tagged=False)
    download(f"{web.address}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENTS
    assert ranges(web) == [None, None]


@pytest.mark.parametrize("stated", [{"sha256": "0" * 64}, {"size": 7}])
def test_what_is_not_what_was_stated_is_deleted(stated, web: WebServer, tmp_path: Path) -> None:
    with pytest.raises(ArtError, match="not the file that was meant") as caught:
        download(f"{web.address}/a", tmp_path / "a", **stated)
    assert "\n" not in str(caught.value)
    assert [*tmp_path.iterdir()] == []


def test_a_full_disk_is_one_line_and_what_has_come_stays(web: WebServer, tmp_path: Path) -> None:
    def fill() -> None:
        download(f"{web.address}/a", tmp_path / "a", progress=False)

    told = told_when_full(fill, limit=5000)
    assert told.startswith(f"{tmp_path / 'a'}: cannot write: ")
    assert "the same command then goes on" in told
    assert 0 < (tmp_path / ".a.part").stat().st_size <= 5000
    download(f"{web.address}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENTS
    assert ranges(web)[-1] is not None


def test_a_redirect_is_followed_on_the_same_host_alone(web: WebServer, tmp_path: Path) -> None:
    web.files["moved"] = Served(location="/a")
    download(f"{web.address}/moved", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENTS
    web.files["away"] = Served(location="https://elsewhere.example/a")
    with pytest.raises(ArtError, match=r"leads to another place, https://elsewhere\.example"):
        download(f"{web.address}/away", tmp_path / "b")
    web.files["round"] = Served(location="/round")
    with pytest.raises(ArtError, match="redirected again and again"):
        download(f"{web.address}/round", tmp_path / "b")
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("path", "status", "complaint"),
    [("none", 0, "there is no such file"), ("shut", 403, r"the server refuses \(status 403\)")],
)
def test_what_a_server_does_not_give_is_one_line(path, status, complaint, web, tmp_path) -> None:
    if status:
        web.files[path] = Served(status=status)
    with pytest.raises(ArtError, match=complaint):
        download(f"{web.address}/{path}", tmp_path / "a")


def zipped(files: dict[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in files.items():
            archive.writestr(zipfile.ZipInfo(name), contents)
    return path


def tarred(files: dict[str, bytes], path: Path, *links: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, contents in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))
        for name in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc"
            archive.addfile(member)
    return path


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_is_unpacked(pack, tmp_path: Path) -> None:
    files = {"set/corpus.jsonl": b"{}\n", "set/qrels/test.tsv": b"q\td\t1\n", "set/empty": b""}
    archive = pack(files, tmp_path / "set.packed")
    assert unpack(archive, tmp_path / "to") == {name: len(each) for name, each in files.items()}
    assert all((tmp_path / "to" / name).read_bytes() == each for name, each in files.items())


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("name", ["../out", "/tmp/out", "set/../../out", "set\\..\\..\\out"])
def test_an_archive_that_climbs_out_of_its_folder_is_refused_whole(pack, name, tmp_path) -> None:
    archive = pack({"good": b"1", name: b"2"}, tmp_path / "set.packed")
    with pytest.raises(ArtError, match="outside its folder"):
        unpack(archive, tmp_path / "to")
    assert [*tmp_path.rglob("*")] == [archive]


def test_links_in_an_archive_and_in_its_folder_lead_nowhere(tmp_path: Path) -> None:
    archive = tarred({"good": b"1"}, tmp_path / "links.tar.gz", "link")
    with pytest.raises(ArtError, match="a link or a device, 'link'"):
        unpack(archive, tmp_path / "to")
    linked = zipfile.ZipInfo("link")
    linked.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as packed:
        packed.writestr(linked, "/etc")
    with pytest.raises(ArtError, match="a link, 'link'"):
        unpack(tmp_path / "links.zip", tmp_path / "to")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "set").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtError, match="outside its folder"):
        unpack(zipped({"set/a": b"1"}, tmp_path / "a.zip"), tmp_path / "to")
    assert [*(tmp_path / "elsewhere").iterdir()] == []


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_damaged_archive_is_one_line(pack, tmp_path: Path) -> None:
    whole = pack({"a": CONTENTS, "b": CONTENTS}, tmp_path / "whole").read_bytes()
    damaged = tmp_path / "damaged"
    for contents in (b"no archive", whole[: len(whole) // 2], whole[:60] + b"\0\0\0" + whole[63:]):
        damaged.write_bytes(contents)
        with pytest.raises(ArtError, match="damaged: cannot be unpacked"):
            unpack(damaged, tmp_path / "to")


def test_an_archive_that_is_too_large_for_the_disk_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3))
    with pytest.raises(ArtError, match="unpacks to"):
        unpack(zipped({"a": b"1234"}, tmp_path / "a.zip"), tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.fixture
def registered(web: WebServer, tmp_path: Path) -> Iterator[WebServer]:
    """A data set of a plain file and an archive, in the registry."""
    archive = zipped({"set/corpus.jsonl": b"{}\n"}, tmp_path / "packed.zip")
    web.files["packed.zip"] = Served(archive.read_bytes())
    archive.unlink()
    plain = RemoteFile(path="x/a", address=f"{web.address}/a", bytes=None, sha256=None, rows=None)
    packed = plain.model_copy(
        update={"path": "x/packed.zip", "address": f"{web.address}/packed.zip", "unpacked": "x"}
    )
    DATA_SETS.add(DataSet(name="x", title="Two files", licence=None, files=(plain, packed)))
    yield web
    DATA_SETS.remove("x")


def test_fetch_says_what_is_known_first_and_fetches_nothing_twice(
    registered: WebServer, tmp_path: Path, capsys
) -> None:
    data = tmp_path / "data"
    assert run("fetch", "x", "--output", data) == 0
    said = capsys.readouterr().out
    assert "x: Two files; licence: unknown\n" in said
    assert f"{data / 'x' / 'a'}  10.2 KB  from {registered.address}/a\n" in said
    assert (data / "x" / "a").read_bytes() == CONTENTS
    assert (data / "x" / "set" / "corpus.jsonl").read_bytes() == b"{}\n"
    assert not (data / "x" / "packed.zip").exists()
    record = json.loads((data / ".fetched.json").read_text())["files"]
    assert record["x/a"]["sha256"] == hashlib.sha256(CONTENTS).hexdigest()
    registered.asked.clear()
    assert run("fetch", "x", "--output", data) == 0
    assert "to fetch: 0 files" in capsys.readouterr().out
    assert registered.asked == []
    (data / "x" / "set" / "corpus.jsonl").unlink()
    assert run("fetch", "x", "--output", data) == 0
    assert (data / "x" / "set" / "corpus.jsonl").exists()
    assert {path for _, path, _ in registered.asked} == {"packed.zip"}


def test_a_file_that_was_there_before_is_left_as_it_is(registered, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "x").mkdir(parents=True)
    (data / "x" / "a").write_text("mine")
    assert run("fetch", "x", "--output", data) == 0
    assert (data / "x" / "a").read_text() == "mine"


def test_a_fetch_that_does_not_fit_the_disk_does_not_begin(registered, tmp_path, monkeypatch):
    wanted = find(["x"], tmp_path / "data")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3))
    with pytest.raises(ArtError, match=r"GB to fetch, but 0\.0 GB are free"):
        fetch(wanted, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_names_are_listed_and_unknown_ones_refused_before_anything_is_asked(
    registered: WebServer, capsys
) -> None:
    assert run("fetch") == 0
    assert (
        "beir:scifact: SciFact, as BEIR has it; licence: claims CC BY 4.0"
        in capsys.readouterr().out
    )
    assert run("fetch", "x", "wikipeda") == 1
    assert "did you mean wikipedia" in capsys.readouterr().err
    assert registered.asked == []


def test_without_a_network_it_is_one_line(registered, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("x", "hf:somebody/something"):
        assert run("fetch", name, "--output", tmp_path / "data") == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and ("HF_HUB_OFFLINE" in said or "cannot be asked" in said)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serving() as gone:
        address = gone.address
    with pytest.raises(ArtError, match="cannot be reached"):
        download(f"{address}/a", tmp_path / "a")


@pytest.fixture
def hub(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> WebServer:
    """A data set of one file, as the hub's protocol has it."""
    commit, kind = "0" * 40, {"Content-Type": "application/json"}
    about = {"id": "me/set", "sha": commit, "siblings": [{"rfilename": "a.tsv", "size": 4}]}
    about["cardData"] = {"license": "cc0-1.0"}
    listed = [{"type": "file", "path": "a.tsv", "size": 4, "oid": "1" * 40}]
    for path, document in {
        "": about,
        "/revision/main": about,
        f"/tree/{commit}": listed,
    }.items():
        web.files[f"api/datasets/me/set{path}"] = Served(
            json.dumps(document).encode(), headers=kind
        )
    web.files[f"datasets/me/set/resolve/{commit}/a.tsv"] = Served(
        b"1234", headers={"X-Repo-Commit": commit}
    )
    monkeypatch.setattr(constants, "ENDPOINT", web.address)
    template = f"{web.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(network, "_reached", set())
    return web


def test_a_data_set_of_the_hub_is_fetched_through_its_library(hub, tmp_path, capsys) -> None:
    assert run("fetch", "hf:me/set", "--output", tmp_path) == 0
    said = capsys.readouterr().out
    assert "licence: cc0-1.0" in said and "to fetch: 1 files, 0.0 KB" in said
    assert (tmp_path / "me" / "set" / "a.tsv").read_text() == "1234"
    hub.asked.clear()
    assert run("fetch", "hf:me/set", "--output", tmp_path) == 0
    assert "to fetch: 0 files" in capsys.readouterr().out
    assert not any("resolve" in path for _, path, _ in hub.asked)
    assert run("fetch", "hf:me/other", "--output", tmp_path) == 1
    assert "hf:me/other: cannot be fetched" in capsys.readouterr().err
