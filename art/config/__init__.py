"""Settings: `inputs` and `training` declare them, section by section; `settings` is all of them.

The sentence under each field is its documentation everywhere. `choices` are names that
the wiring brings along, `reading` reads settings, `writing` writes a commented file.

`manifest` is JSON files of ours.

Only the wiring sees a settings object (`cli`, `demo`, and in `training` what sets up,
plans and keeps a run); every other module takes plain keyword arguments.
"""

from art.config.choices import Choice, Choices
from art.config.inputs import DataConfig, IndexConfig, RetrieverConfig, TeacherConfig
from art.config.manifest import Manifest, PositiveInt, SealedManifest
from art.config.reading import Stage, check_config, read_config, read_stages
from art.config.settings import RETRIEVER_FOLDER, Config, differences, fields
from art.config.teachers import TeacherKind, teacher_contradictions
from art.config.training import EvaluationConfig, OutputConfig, TrainingConfig, WarmupConfig
from art.config.writing import commented_yaml

__all__ = [
    "RETRIEVER_FOLDER",
    "Choice",
    "Choices",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "IndexConfig",
    "Manifest",
    "OutputConfig",
    "PositiveInt",
    "RetrieverConfig",
    "SealedManifest",
    "Stage",
    "TeacherConfig",
    "TeacherKind",
    "TrainingConfig",
    "WarmupConfig",
    "check_config",
    "commented_yaml",
    "differences",
    "fields",
    "read_config",
    "read_stages",
    "teacher_contradictions",
]
