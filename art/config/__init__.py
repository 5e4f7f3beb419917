"""Settings: `settings` declares them, `reading` reads them, `writing` writes a commented file.

`manifest` is JSON files of ours.

Only the wiring sees a settings object (`cli`, `demo`, and in `training` what sets up,
plans and keeps a run); every other module takes plain keyword arguments.
"""

from art.config.manifest import Manifest, PositiveInt
from art.config.reading import check_config, read_config, read_config_with_origins
from art.config.settings import (
    Config,
    DataConfig,
    EvaluationConfig,
    IndexConfig,
    OutputConfig,
    RetrieverConfig,
    ScorerConfig,
    TrainingConfig,
    differences,
    fields,
)
from art.config.writing import commented_yaml

__all__ = [
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "IndexConfig",
    "Manifest",
    "OutputConfig",
    "PositiveInt",
    "RetrieverConfig",
    "ScorerConfig",
    "TrainingConfig",
    "check_config",
    "commented_yaml",
    "differences",
    "fields",
    "read_config",
    "read_config_with_origins",
]
