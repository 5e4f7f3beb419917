"""Before a run: what it will take, on this machine or another, and settings to begin with.

`work` counts what a configuration does and `costs` what each piece takes (`shapes`: how large
models are), `inventory` finds what is on this machine, `lengths` how long its texts are, `rates`
measures it, `space` sums up memory and disk, `forecast` puts that together and `format` says it;
`init_config` chooses a first configuration, `label_entropy` a temperature for the teacher.
"""
