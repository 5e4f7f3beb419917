"""The rows of one block that are nearest in float32, by whatever is fast where the block is.

They are candidates and decide nothing: see `search`. So its three ways are interchangeable.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

# torch first: whichever of the two comes first decides which OpenMP runtime serves both.
import torch
from torch import Tensor

from art.errors import ArtError
from art.weights import is_installed

_FAISS_GPU_MOST = 2048  # rows a question; a limit of its selection


def nearest(questions: Tensor, block: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the rows of a block with the largest inner products, best first.

    Args:
        questions: [Q, D] float32.
        block: [n, D] float32, on the same device.
        count: C, at most n.

    Returns:
        Products and positions in the block, [Q, C] each.
    """
    if block.device.type == "cpu":
        return _by_faiss(questions, block, count)
    # Neither of the other two was ever run where they were written: no GPU was at hand.
    if count <= _FAISS_GPU_MOST and (faiss := _faiss_for_gpus()):
        return _by_faiss_on_gpu(faiss, questions, block, count)
    return _by_product(questions, block, count)


def _by_faiss(questions: Tensor, block: Tensor, count: int) -> tuple[Tensor, Tensor]:
    faiss = load_faiss()
    product = faiss.METRIC_INNER_PRODUCT
    scores, positions = faiss.knn(questions.numpy(), block.numpy(), count, metric=product)
    return torch.from_numpy(scores), torch.from_numpy(positions)


def _by_faiss_on_gpu(
    faiss: Any, questions: Tensor, block: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    device, product = block.device.index, faiss.METRIC_INNER_PRODUCT
    found: tuple[Tensor, Tensor] = faiss.knn_gpu(
        _gpu_resources(), questions, block, count, metric=product, device=device
    )
    return found


def _by_product(questions: Tensor, block: Tensor, count: int) -> tuple[Tensor, Tensor]:
    with _in_whole_float32():
        products = questions @ block.T
    scores, positions = products.topk(count, dim=1)
    return scores, positions


@contextmanager
def _in_whole_float32() -> Iterator[None]:
    # Where a user lets matrix products be computed in TF32, they would be beyond their bound.
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def load_faiss() -> Any:
    """Import FAISS.

    Raises:
        ArtError: no distribution of it is installed, or several that overwrite each other.
    """
    names = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12")
    installed = [name for name in names if is_installed(name)]
    if len(installed) > 1:
        raise ArtError(
            f"{' and '.join(installed)} are both installed and share one module",
            hint=f"`pip uninstall {' '.join(installed)}`, then `pip install "
            '"art-retriever[cpu]"` or `pip install "art-retriever[gpu]"`',
        )
    try:
        import faiss
    except ImportError as error:
        raise ArtError(
            f"FAISS, which searches the index, cannot be imported: {error}",
            hint='`pip install "art-retriever[cpu]"`, or `pip install "art-retriever[gpu]"` '
            "on a machine with CUDA",
        ) from error
    # As it comes, FAISS multiplies matrices only from Q × D = 128,000 on, 1,024 rows at a time, and
    # else streams the whole index past each question. 64 questions, 65,536 rows of 768, two cores:
    # 0.85 s as it comes, 0.15 s so.
    faiss.cvar.distance_compute_blas_threshold = 1
    faiss.cvar.distance_compute_blas_query_bs = 1024
    faiss.cvar.distance_compute_blas_database_bs = 16_384
    return faiss


@cache
def _faiss_for_gpus() -> Any:
    """Return FAISS where it can search on a GPU, else None: torch can, too."""
    try:
        faiss = load_faiss()
    except ArtError:
        return None
    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
        return None
    import faiss.contrib.torch_utils  # takes torch's tensors from here on

    return faiss


@cache
def _gpu_resources() -> Any:
    return load_faiss().StandardGpuResources()
