"""Questions asked about passages by a frozen language model, for who has none; before training.

kinds       what is asked for: questions, keywords, claims
prompts     what the model reads of a passage, perhaps with examples
sampling    tokens drawn from what it says, each passage by a random stream of its own
decoding    many texts written at once, each prompt read once
asker       the model that is asked, a block of passages at a time
job         all passages asked about; goes on after a kill
filters     faults that a question's text shows, beside its passage and beside other questions
round_trip  whether searches find the passage, and whether the teacher prefers it
keeping     these filters one after the other; kept and rejected questions as files
"""
