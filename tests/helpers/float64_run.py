"""Training in float64, for processes that find this module but not the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from language_model_pairs import one_pair_at_a_time
from safetensors.torch import load_file

from art.training import models, students


def in_float64() -> None:
    """Let training compute in float64, and the teacher take one pair at a time.

    Sums then differ in the sixteenth digit only, and a score not at all, however the questions are
    dealt out to processes.
    """
    create, load = students.create_retriever, models.load_teacher

    def create_double(model: str, **settings: Any) -> Any:
        retriever = create(model, **settings).double()
        for tower in ("question_tower", "passage_tower"):
            saved = Path(model) / tower / "model.safetensors"
            if saved.exists():  # loading rounds to float32
                getattr(retriever, tower).backbone.load_state_dict(load_file(saved))
        return retriever

    def load_patient(*args: Any, **settings: Any) -> Any:
        return one_pair_at_a_time(load(*args, **settings))

    students.create_retriever, models.load_teacher = create_double, load_patient
