"""How good a ranking is: the same metrics for the training loop, the command and any other ranking.

    answers     which passages of a corpus contain an answer, exactly as DPR asks it
    squad       exact match and F1 of an answer that was read
    metrics     every metric: its name, title, unit, which direction is better, how it is computed
    statistics  intervals, paired tests, rank correlation, ranks, scores that fall strictly
    runs        result files written, with what their formats ask of a ranking
    labels      which passages answer which question: by the ids it names, else by its answers
    self_hits   passages with the id of the question that finds them, which BEIR leaves out
    sharing     questions dealt out to the processes and their results gathered
    evaluate    retriever + index + questions → metrics, and the metrics of a given ranking
    pooled      retriever + labelled questions, without a corpus → metrics of the positives' ranks
    rankings    what each question found, kept for a person to look at
    rerank      a ranking re-ordered by the teacher's scores
    comparison  retrievers, BM25 and both fused on the same questions, with exact paired tests
    matching    the questions and passages of a result file, found among those given
    judging     a result file of any program → metrics, without a model
    paired      two rankings of the same questions: differences, tests, questions won and lost
    rescoring   a result file of any program re-ordered by a teacher; goes on after a kill
    benchmarks  named benchmarks: their files, what others have published, ours beside it

`answers`, `squad`, `metrics`, `statistics`, `runs` and `benchmarks` load no torch.
"""
