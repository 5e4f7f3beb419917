"""How good a ranking is: the same metrics for the training loop, the command and any other ranking.

    answers     does a passage contain an answer, exactly as DPR asks it
    metrics     top-k, judged relevance through trec_eval, intervals, paired tests, agreement
    runs        result files written, with what their formats ask of a ranking
    labels      which passages answer which question: by the ids it names, else by its answers
    sharing     questions dealt out to the processes and their results gathered
    evaluate    retriever + index + questions -> metrics, and the metrics of a given ranking
    pooled      retriever + labelled questions, without a corpus -> rank of the positive
    rankings    what each question found, kept for a person to look at
    ceiling     what a teacher could teach: its own re-ordering of a ranking
    comparison  several retrievers on the same questions, with exact paired tests
    rescoring   anybody's result file in a teacher's order, killed and resumed alike

`answers`, `metrics` and `runs` load no torch.
"""
