"""Before a run: what it will take, on this machine or another, and settings to begin with.

`work` counts what a configuration does and `costs` what each piece takes (`shapes`: how large
models are), `at_hand` finds what is on this machine, `lengths` how long its texts are, `rates`
measures it, `space` sums up memory and disk, `forecast` puts that together and `telling` says it;
`starter` chooses a first configuration, `flatness` a temperature for the scorer.
"""
