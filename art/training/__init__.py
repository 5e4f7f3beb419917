"""The method and what surrounds it, in the order of the data.

`schedule` (what happens at which step) → `candidates` (who proposes passages) → `steps` (the
method, one screen) → `gradient_cache` (large batches in little memory) → `losses` (the method's
formulae) → `loop` (set-up, main, fit) → `checkpoints` and `progress` (what it leaves behind). What
can go wrong on the way: `interruption` (signals), `collapse` (a retriever that finds the same
for every question), `recovery` (damaged files).
"""
