"""Settings: `settings` declares them, `reading` reads them, `manifest` is JSON files of ours.

Only the wiring (`cli`, `demo`, `training.loop`, `training.plan`, `training.checkpoints`) sees a
settings object; every other module takes plain keyword arguments.
"""

from art.config.manifest import Manifest
from art.config.reading import check_config, read_config
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

__all__ = [
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "IndexConfig",
    "Manifest",
    "OutputConfig",
    "RetrieverConfig",
    "ScorerConfig",
    "TrainingConfig",
    "check_config",
    "differences",
    "fields",
    "read_config",
]
