"""The frozen teacher, which says how well a passage suits a question.

    base               what every teacher is: pairs in, scores out; what a kind says of itself
    kinds/             a file for each kind: question likelihood, answer likelihood, cross-encoder
    registry           the kinds by name: load one, ask what it needs, check its settings
    transformer        teachers that are a transformers model, scored in padded batches
    likelihood         what the likelihoods of questions and of answers share
    models             what a model's name stands for: its weights, a precision that is fast
    quantization       weights in few bits, as transformers knows them
    forward            forward passes over padded batches; a context is read once for its targets
    attention          attention on a CPU, a block of queries at a time
    log_probabilities  of tokens, from logits
    costs              what scoring a pair costs
    shapes             the sizes of models that this follows from
    score_log          the scores of one teacher, in memory and on disk
    log_file           the file of a score log
    cached             a teacher that remembers: a pair is scored once
    grouped            many pairs at once, so that each passage is read once for all its questions
    blending           one score out of several sources'

Nothing here is trained: no parameter has a gradient, and no pair's score depends on its neighbours.
"""
