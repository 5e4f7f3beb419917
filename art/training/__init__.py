"""The method and what surrounds it, in the order of the data.

`schedule` (what happens at which step) → `candidates` (who proposes passages) → `steps` (the
method, one screen) → `losses` (its formulae) → `loop` (set-up, main, fit) → `checkpoints` and
`progress` (what it leaves behind), `recovery` (where it goes on when some of that is damaged).
"""
