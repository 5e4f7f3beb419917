"""What is asked of the network: whether the hub is reached, files of the web, data sets of the hub.

huggingface_hub repeats a request that fails for want of a network five times, over 23 seconds, for
each file of a model or dataset, before it looks whether the file is in its cache: here the hub is
asked once. Files of the web are asked for with huggingface_hub's own session, which others keep and
which knows proxies and certificates; it is given no token.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

from art.errors import ArtError, notify, one_line

# Long enough for the files of several models; a notebook lives on and its network may come back.
_REMEMBERED_SECONDS = 60.0

_MOST_REDIRECTS = 5
_REDIRECTED = (301, 302, 303, 307, 308)

_reached: set[str] = set()
_missed: dict[str, float] = {}  # endpoint → when, by the monotonic clock


@contextmanager
def cache_unless_reachable() -> Iterator[bool]:
    """Let huggingface_hub use its cache alone while the hub cannot be reached, and say so.

    Yields:
        Whether the block is offline, by the user's wish (`HF_HUB_OFFLINE`) or for want of a hub.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode() or _is_reachable():
        yield constants.is_offline_mode()
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield True
    finally:
        constants.HF_HUB_OFFLINE = False


def _is_reachable() -> bool:
    from huggingface_hub import constants, get_session

    endpoint = constants.ENDPOINT
    if endpoint in _reached:
        return True
    if time.monotonic() < _missed.get(endpoint, float("-inf")) + _REMEMBERED_SECONDS:
        return False
    try:
        # Any answer will do. The library's own session knows proxies and certificates.
        get_session().request(
            "HEAD", endpoint, timeout=constants.HF_HUB_ETAG_TIMEOUT, follow_redirects=False
        )
    except Exception as error:  # noqa: BLE001 (of the library's transport, which differs by version)
        reason = one_line(str(error)) or type(error).__name__
        notify(f"{endpoint} cannot be reached ({reason}): only what is in the cache is used")
        _missed[endpoint] = time.monotonic()
        return False
    _reached.add(endpoint)
    return True


class ConnectionLost(ArtError):
    """An address that cannot be reached now, or a connection that broke: asking again may help."""


@dataclass(frozen=True)
class ServerReply:
    """What a server says to a request, before its contents are read.

    Attributes:
        address: that was asked last, behind redirects.
        status: of HTTP.
        headers: by name, whatever the case.
        response: of the library's session.
    """

    address: str
    status: int
    headers: Mapping[str, str]
    response: Any

    @property
    def length(self) -> int | None:
        """Bytes of the contents as they are sent; None where the server does not say."""
        stated = self.headers.get("content-length", "")
        return int(stated) if stated.isdigit() else None

    def blocks(self) -> Iterator[bytes]:
        """Yield the contents as they come.

        Raises:
            ConnectionLost: the connection broke.
        """
        # As they are sent: nothing is unpacked, or waited for until there is more.
        blocks = self.response.iter_raw()
        while True:
            try:
                block = next(blocks)
            except StopIteration:
                return
            except Exception as error:  # of the library's transport, which differs by version
                raise _lost("the connection broke", self.address, error) from error
            yield block


@contextmanager
def asked(
    address: str,
    *,
    method: Literal["GET", "HEAD"] = "GET",
    headers: Mapping[str, str] | None = None,
) -> Iterator[ServerReply]:
    """Ask a web server for a file; redirects are followed on the same host alone.

    Args:
        address: beginning with https:// or http://.
        method: HEAD for what is said about the file, without its contents.
        headers: besides those of the session.

    Raises:
        ConnectionLost: nobody answers.
        ArtError: the user wants no network, or another host is where the address leads.
    """
    with ExitStack() as stack:
        for _ in range(_MOST_REDIRECTS):
            answer = _answer(stack, address, method, headers or {})
            if answer.status not in _REDIRECTED:
                yield answer
                return
            address = _redirected(address, answer.headers.get("location", ""))
        raise ArtError("redirected again and again", where=address, hint="fetch it by hand")


def _answer(stack: ExitStack, address: str, method: str, headers: Mapping[str, str]) -> ServerReply:
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        raise ArtError(
            "cannot be fetched: HF_HUB_OFFLINE says that there is no network",
            where=address,
            hint="unset it, or fetch the file by hand",
        )
    # What is sent is what is counted, resumed and checked.
    asking = {"Accept-Encoding": "identity", **headers}
    try:
        response = stack.enter_context(
            get_session().stream(
                method,
                address,
                headers=asking,
                timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
                follow_redirects=False,
            )
        )
    except Exception as error:  # of the library's transport, which differs by version
        raise _lost("cannot be reached", address, error) from error
    return ServerReply(address, int(response.status_code), response.headers, response)


def _lost(what: str, address: str, error: Exception) -> ConnectionLost:
    reason = one_line(str(error)) or type(error).__name__
    hint = "the same command goes on later"
    return ConnectionLost(f"{what}: {reason}", where=address, hint=hint)


def _redirected(address: str, location: str) -> str:
    """Return where a redirect leads, which is the same host.

    Raises:
        ArtError: it is another: what is there was checked by nobody.
    """
    there = urljoin(address, location)
    before, after = urlsplit(address), urlsplit(there)
    if (before.scheme, before.netloc) != (after.scheme, after.netloc):
        elsewhere = f"{after.scheme}://{after.netloc}"
        raise ArtError(
            f"leads to another place, {elsewhere}, and is not followed",
            where=address,
            hint="fetch it by hand if you trust that",
        )
    return there


@dataclass(frozen=True)
class HubDataSet:
    """What the hub says of a data set.

    Attributes:
        name: of its repository.
        licence: as its card states it; None where it states none.
        files: path → bytes; None where the hub does not say.
    """

    name: str
    licence: str | None
    files: dict[str, int | None]


def ask_hub(name: str) -> HubDataSet:
    """Ask the hub what a data set consists of.

    Args:
        name: of its repository, `OWNER/NAME`.

    Raises:
        ArtError: there is none, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi

    with _hub_faults(name):
        found = HfApi().dataset_info(name, files_metadata=True)
        licence = getattr(found.card_data, "license", None)
        files = {one.rfilename: one.size for one in found.siblings or ()}
    return HubDataSet(name, str(licence) if licence else None, files)


def fetch_from_hub(name: str, folder: Path) -> None:
    """Fetch a data set of the hub into a folder; what is there already is not fetched again.

    Args:
        name: of its repository, `OWNER/NAME`.
        folder: for its files, under the paths that they have there.

    Raises:
        ArtError: the hub cannot be reached, or a file cannot be written.
    """
    from huggingface_hub import snapshot_download

    with _hub_faults(name):
        snapshot_download(name, repo_type="dataset", local_dir=folder)


@contextmanager
def _hub_faults(name: str) -> Iterator[None]:
    from huggingface_hub import constants

    try:
        with cache_unless_reachable() as offline:
            if offline:
                hint = "fetch it by hand, or come back with a network"
                raise ArtError(
                    f"{constants.ENDPOINT} cannot be asked", where=f"hf:{name}", hint=hint
                )
            yield
    except ArtError:
        raise
    except Exception as error:  # of the library, of its transport, of the system
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        hint = "check the name; the same command goes on"
        raise ArtError(f"cannot be fetched: {reason}", where=f"hf:{name}", hint=hint) from error
