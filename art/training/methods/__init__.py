"""The methods of training, each one object in a file of its own.

    base      what every method says of itself, and what takes its steps
    art_step  a step from questions alone: retrieve, score, re-encode, learn (the paper)
    art       the method of such steps: its settings, and who finds the candidates
    dpr       labelled questions, each told apart from the passages of the whole step
    warmup    pairs cut from the passages themselves
    reader    a reader, from labelled questions whose answers stand in their passages
    mixed     steps of one method between those of another

A file in this folder that adds a method to `METHODS` is all that a new one takes.
"""

from art.config import Config
from art.registry import import_all
from art.training.methods.base import METHODS, Learner, LearnerParts, Method
from art.training.methods.mixed import Mixed

import_all(__name__, __path__)

__all__ = ["METHODS", "Learner", "LearnerParts", "Method", "Mixed", "method_of"]

# Whose steps `training.labelled_share` mixes in.
_LABELLED = "dpr"


def method_of(config: Config) -> Method:
    """Return the method that the settings describe, labelled steps mixed in where they say so.

    Raises:
        ConfigError: there is no such method.
    """
    method = METHODS[config.training.method].from_config(config)
    share = config.training.labelled_share
    return Mixed(method, METHODS[_LABELLED].from_config(config)) if share else method
