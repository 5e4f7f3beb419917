"""Before a run: what it will take, on this machine or another, and settings to begin with.

costs          operations and bytes of each piece of work
work           how often a configuration does what
shapes         how large models are
inventory      what of a run is on this machine
rates          how fast this machine is, measured, or another, assumed
lengths        how long the texts of a run are
space          memory and disk
forecast       all of that put together
format         a forecast as text
init_config    first settings for a corpus, its questions and this machine
label_entropy  how flat soft labels are, and a temperature for the teacher
"""
