"""The method and what surrounds it, in the order of the data.

`plan` (who trains, who chooses, in how many steps) → `schedule` (what happens at which step) →
`candidates` (who proposes passages), `ahead` (for steps to come) and `items` (labelled questions,
pairs cut from passages) → `steps` (each method on one screen) → `gradient_cache` (large batches in
little memory) → `losses` (the formulae) → `run_data`, `setup` and `job` (what a run reads, its
models, its state) → `loop` (set-up, main, fit) → `stages` (several runs in one file) → `run_log`
and `progress` (what a run says) → `run_folder` and `checkpoints` (what it leaves behind). What can
go wrong on the way: `interruption` (signals), `recovery` (damage) and `collapse` (a retriever that
finds the same for every question).
"""
