"""Installed distributions, some of which carry a model."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from art.errors import ArtError

PACKAGE_PREFIX = "pip:"


def is_installed(distribution: str) -> bool:
    """Return whether a distribution of this name is installed."""
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def packaged_files(distribution: str) -> list[Path]:
    """Return the files of an installed distribution, sorted.

    Raises:
        ArtError: no such distribution is installed in this environment.
    """
    try:
        listed = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        raise ArtError(
            f"the package {distribution!r} is not installed in this environment",
            hint=f"install it with `pip install --no-deps {distribution}`",
        ) from None
    paths = (Path(str(one.locate())) for one in listed)
    return sorted(path for path in paths if path.is_file())
