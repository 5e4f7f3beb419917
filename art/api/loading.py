"""A retriever from a name: trained, or to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from art.api.calls import briefly, join
from art.retriever.encoders import Retriever
from art.retriever.loading import create_retriever
from art.training.run_folder import finished_retriever
from art.training.settings import check_config


@briefly
def load(model: str | Path, *, cpu: bool = False, **settings: Any) -> Retriever:
    """Return a retriever, trained or not, in evaluation mode and on the GPU if there is one.

    Args:
        model: a folder that `Retriever.save` wrote; the folder of a finished run; or a start, as
            the setting `retriever.model`: a hub name, a model folder, `pip:wordllama`, ….
        cpu: stay on the CPU.
        settings: others of the section `retriever`, such as `pooling="mean"`.

    Raises:
        ArtError: it cannot be loaded, the run has not finished, or a setting is wrong.
    """
    document = {
        "data": {"supervised": "-"},  # nothing is read: only the section is checked
        "retriever": {**settings, "model": str(finished_retriever(Path(model)) or model)},
        "training": {"method": "dpr"},
        "output": {"folder": "-"},
    }
    config = check_config(document, source="art.load")
    return create_retriever(**config.towers.model_dump()).to(join(cpu=cpu))
