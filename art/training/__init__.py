"""The method and what surrounds it, in the order of the data.

`schedule` (what happens at which step) → `candidates` (who proposes passages) → `steps` (the
method, one screen) → `losses` (its formulae) → `loop` (set-up, main, fit) → `checkpoints` and
`progress` (what it leaves behind).

Beforehand, `plan` counts what a configuration will do and `costs` what each piece takes (`shapes`:
how large models are), `at_hand` finds what is on this machine, `rates` measures it, `forecast` puts
that together and `telling` says it; `starter` chooses a first configuration.
"""
