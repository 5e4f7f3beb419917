"""The methods of training and the loop that they share, in the order of the data.

losses          the formulae, and the table of losses
mixture         real and generated questions of one epoch
schedule        what is due at which step, as pure functions of the step
selection       which checkpoint is kept: what it is judged on, hold-out, patience
verdict         whether the chosen weights are better than the start
run_files       what a run reads, opened
students        what a run trains: a retriever or a reader
sources         what methods train on, each divided in its own way
contrastive     what contrastive steps read: labelled questions, pairs cut from passages
readings        what a reader's steps read, and how its answers are judged
corpus          the passages of a run and its index
candidates      who finds the K passages of a question
agreement       the passages that judge held-out questions, which have no labels
evaluator       judges checkpoints in the corpus, in a pool, or in both
prefetch        the pairs that the coming steps will score
soft_labels     what they are made of, and at which temperature
blend_sources   what soft labels are blended of besides the teacher's scores
gradient_cache  large batches in little memory
statistics      what a process saw in one step
methods/        each method of training, one object in a file of its own
plan            the steps that the settings make of a run, checked and described
run_data        files opened, training sets divided, steps laid out
settings        settings read with every name that they can hold
state           all that a checkpoint says of its run
run_folder      what lies where in a run folder
checkpoints     written, read, kept and deleted
recovery        going on after damage
interruption    signals that end a run
collapse        signs that a retriever has collapsed
refreshing      the index embedded anew, and how far it had fallen behind
progress        seconds by phase, the progress line, `metrics.jsonl`
trainer         a run in progress: its parts, its state, what is done between two steps
acceleration    what accelerate is told, and the optimiser
models          what learns and what teaches, loaded
setup           from settings to a trainer
run_log         what a run says and logs
loop            train, fit, take_step, finish
stages          several runs in one file
"""
