"""A disk that takes no more, for one forked process: a limit on the size of every file."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import torch

from art.errors import ArtError
from art.retriever.nearest import load_faiss


def told_when_full(write: Callable[[], Any], limit: int) -> str:
    """Call `write` where no file can be larger than `limit` bytes; return the line a user reads.

    Raises:
        AssertionError: it succeeded, or raised something that a user would see as a traceback.
    """
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside other threads
        child = os.fork()
    if not child:
        os.close(reading)
        os.write(writing, pickle.dumps(_outcome(write, limit)))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        refused, text = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    assert refused, text
    return text


def _outcome(write: Callable[[], Any], limit: int) -> tuple[bool, str]:
    signal.alarm(300)
    torch.set_num_threads(1)  # the parent's threads are not here
    load_faiss().omp_set_num_threads(1)
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what pytest captures is a file too
        os.dup2(silent, stream)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        write()
    except ArtError as error:
        return True, str(error)
    except BaseException:  # noqa: BLE001 (whatever it is, the parent must hear of it)
        return False, traceback.format_exc()
    return False, "it was written"
