"""The frozen language model that says how likely a question is, given a passage.

    models      what a model's name stands for: its kind, its weights, a precision that is fast
    forward     forward passes over padded batches; a context is read once for all its targets
    likelihood  question log-likelihoods of encoder–decoder and decoder-only models, in batches
    cache       scores already known, in memory and in a log on disk: a pair is scored once

Nothing here learns: no parameter has a gradient, and no pair's score depends on its neighbours.
"""
