"""What a launcher on this machine tells the processes of a job."""

from __future__ import annotations

import os
import socket


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
