"""A folder uploaded to the Hugging Face Hub; nothing here runs unless it is asked for."""

from __future__ import annotations

from pathlib import Path

from art.errors import ArtError


def check_repository(name: str) -> None:
    """Refuse what cannot be the name of a repository, before there is anything to upload.

    Raises:
        ArtError: it cannot.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ArtError(
            f"not the name of a repository: {error}", hint="such as USER/NAME"
        ) from error


def push(folder: Path, name: str) -> str:
    """Upload a folder's files to a model repository, which is made private where it is new.

    Args:
        folder: whose files go to the root of the repository.
        name: of the repository, `USER/NAME`.

    Returns:
        Its address.

    Raises:
        ArtError: the Hub cannot be reached or refuses; the folder stays.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        # What a model learned from may be private: who wants it public says so on the Hub.
        address = api.create_repo(name, repo_type="model", private=True, exist_ok=True)
        api.upload_folder(
            repo_id=address.repo_id,
            folder_path=folder,
            repo_type="model",
            commit_message="Upload a retriever exported by art-retriever",
        )
    except Exception as error:  # of the library, of its transport, of the system
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise ArtError(
            f"cannot upload to {name}: {reason}",
            where=folder,
            hint="the folder is complete; log in with `hf auth login`, or upload it yourself",
        ) from error
    return str(address)
