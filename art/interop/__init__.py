"""Retrievers from other tools and for other tools.

exporting         a retriever written for one of them, with its model card
exports/          the targets, each one object in a file of its own
towers            what a tower's vectors depend on, apart from how we keep it
tokenizers        a tower's tokenizer as other tools read it
origin            what is known of how a retriever was made
card              the model card: README.md of the exported folder
hub               a folder uploaded to the Hugging Face Hub, when asked
importing         `import_retriever`: a checkpoint of another program becomes a retriever folder
dpr_checkpoint    original DPR checkpoints
art_release       checkpoints of the ART release
foreign_towers    weights, sizes and tokenizer made the folders that `create_retriever` reads
torch_checkpoint  files of `torch.save`, read tensor by tensor
tensor_pickle     the pickle in such a file, read without executing anything
"""
