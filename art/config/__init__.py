"""Settings as declarations, with the sentence that documents each field, and how they are read.

    section     what every section is, and kinds of values that several hold
    index_kind  approximate kinds of indexes, by FAISS's names
    inputs      sections data, retriever, reader, index, teacher
    training    sections training, warmup, evaluation, output
    settings    all sections together: what differs, what contradicts itself
    choices     settings that hold a name, such as a method's; the names come from whoever reads
    yaml_files  YAML files, each laid over the files that it is based on
    reading     a YAML file and overrides become settings, with every fault at once
    writing     a commented settings file
    manifest    JSON files of ours

Only the wiring sees a settings object (`cli`, `demo`, and in `training` what sets up, plans and
keeps a run); every other module takes plain keyword arguments.
"""

from art.config.choices import Choice, Choices
from art.config.index_kind import IndexKind
from art.config.inputs import (
    DataConfig,
    IndexConfig,
    ReaderConfig,
    RetrieverConfig,
    TeacherConfig,
)
from art.config.manifest import Manifest, PositiveInt, SealedManifest
from art.config.reading import Stage, check_config, read_config, read_stages
from art.config.settings import READER_FOLDER, RETRIEVER_FOLDER, Config, differences, fields
from art.config.training import EvaluationConfig, OutputConfig, TrainingConfig, WarmupConfig
from art.config.writing import commented_yaml

__all__ = [
    "READER_FOLDER",
    "RETRIEVER_FOLDER",
    "Choice",
    "Choices",
    "Config",
    "DataConfig",
    "EvaluationConfig",
    "IndexConfig",
    "IndexKind",
    "Manifest",
    "OutputConfig",
    "PositiveInt",
    "ReaderConfig",
    "RetrieverConfig",
    "SealedManifest",
    "Stage",
    "TeacherConfig",
    "TrainingConfig",
    "WarmupConfig",
    "check_config",
    "commented_yaml",
    "differences",
    "fields",
    "read_config",
    "read_stages",
]
