"""The frozen teacher that says how well a passage suits a question.

    models        what a model's name stands for: its kind, its weights, a precision that is fast
    quantization  weights in few bits, as transformers knows them
    forward       forward passes over padded batches; a context is read once for all its targets
    teacher       what every teacher is: pairs in, scores out, in batches
    likelihood    log-likelihoods of questions or answers under language models of both families
    reranker      cross-encoders
    teachers      the choice between them
    cache         scores already known, in memory and in a log on disk: a pair is scored once
    by_passage    many pairs at once, so that each passage is read once for all its questions

Nothing here is trained: no parameter has a gradient, and no pair's score depends on its neighbours.
"""
