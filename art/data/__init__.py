"""Corpora and questions on disk, and their way into token ids.

packed               files plain or as .gz
rows                 lines, csv rows and JSON objects of files, each with its line number
column_names         what columns are called; those that are not read
records              passages, questions, labelled questions, and the rows that say them
labelled_rows        rows of labelled questions, by the names of their columns
hits                 passages of a ranking, and grades, as rows say them
formats/             the formats of files, each a module that adds itself
json_lists           one JSON list or object of several gigabytes, streamed
columns              Parquet files and datasets as rows, streamed
in_memory            rows given as lists or datasets, written once as files
distinct             rows without those whose id stood before
documents            folders of documents as text under titles
headings             lines of a text under the title of their section
markdown             Markdown as such lines
webpages             HTML as such lines
splitting            documents cut into passages of a hundred words
store_files          the files of a corpus on disk, written
passages             the memory-mapped corpus: row ↔ passage id, title, text
supervised_building  labelled questions written into the folder of a store
supervised_store     labelled questions and their passages, memory-mapped
encoding             token ids of user text in which no markup is read as a special token
pairs                what a teacher reads of a question and a passage
prompts              what each model reads, and how it is cut to length
tokens               the memory-mapped token ids of a whole store; padding
kept_lines           what a job has computed so far, for a killed one to go on
cutting              how many texts are longer than what is read of them
contrastive          what a contrastive step reads of a question
cloze                such pairs cut from passages
together             whether padding changes what a model says of a text
batching             batches by token budget and the order of an epoch, pure functions
scripts              one spelling of each character; scripts without spaces between words
answers              does a text contain an answer, exactly as DPR asks it
"""
