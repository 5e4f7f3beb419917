"""The short way from Python: `load`, `train`, `index`, `load_index`, each a call of its own.

What a user of a notebook has in memory is written once into the folder of the run or the index, and
goes through the readers, settings and checkpoints of the command line from there. Under a launcher
every process makes the same calls.

    calls      what every call does: join the processes, complain briefly
    loading    a retriever from a name
    training   `train`
    searching  an index, questions, metrics
"""

from art.api.loading import load
from art.api.searching import Hit, Searcher, index, load_index
from art.api.training import train

__all__ = ["Hit", "Searcher", "index", "load", "load_index", "train"]
