"""Whether the Hugging Face hub can be reached: asked once, and not again for every file.

huggingface_hub repeats a request that fails for want of a network five times, over 23 seconds, for
each file of a model or dataset, before it looks whether the file is in its cache.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from art.errors import notify, one_line

# Long enough for the files of several models; a notebook lives on and its network may come back.
_REMEMBERED_SECONDS = 60.0

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
