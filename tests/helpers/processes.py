"""Several processes of one job on this machine, as a launcher would start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys


def environments(world_size: int) -> list[dict[str, str]]:
    """Return what a launcher on this machine would tell each rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [
        os.environ
        | {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world_size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        for rank in range(world_size)
    ]


def run_processes(command: list[str], world_size: int) -> list[tuple[int, str]]:
    """Run a Python command as so many ranks; return each one's exit status and what it said."""
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        for environment in environments(world_size)
    ]
    said = [process.communicate(timeout=120)[0] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, said, strict=True)]
