"""What other programs wrote, made ours.

importing         `import_retriever`: a checkpoint of another program becomes a retriever folder
dpr_checkpoint    original DPR checkpoints
art_release       checkpoints of the ART release
foreign_towers    weights, sizes and tokenizer made the folders that `create_retriever` reads
torch_checkpoint  files of `torch.save`, read tensor by tensor
tensor_pickle     the pickle in such a file, read without executing anything
"""
