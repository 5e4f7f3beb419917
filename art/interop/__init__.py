"""A retriever in the folders of other tools.

exporting   a retriever written for one of them, with its model card
exports/    the targets, each one object in a file of its own
towers      what a tower's vectors depend on, apart from how we keep it
tokenizers  a tower's tokenizer as other tools read it
origin      what is known of how a retriever was made
card        the model card: README.md of the exported folder
hub         a folder uploaded to the Hugging Face Hub, when asked
"""
