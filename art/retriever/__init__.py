"""Question tower and passage tower, the index over passage vectors, and BM25 beside it.

encoders    `Retriever` (two towers) and `Tower` (backbone, pooling, projection, normalisation)
settings    what turns texts into vectors besides the weights, and `retriever.json`
loading     from a folder of ours, any Hugging Face model, a DPR pair or word vectors
starts      the models that a name stands for, and the settings they state themselves
sentence_transformers_folder   what a folder of sentence-transformers says
backbones   a Hugging Face encoder made ready to train: its class, poolers, dropout
layers      an encoder's layers: only the first are kept, or only the last learn
projection  the linear layers behind a tower's pooling, where it has some
static      a table of word vectors as an ordinary Hugging Face model
one_length  towers whose vectors padding would change, found out as they load
padding     rows of different lengths through a tower without the padding of the longest
embedding   the vectors of a whole store, written as index shards
shards      the files of an index, written so that a kill leaves none half-finished
index_manifest   what an index says of itself: its shards, and how it finds what it scores
parts       files of an approximate kind beside the shards
index       an index on disk, tied to the weights and the store it was built from
foreign_vectors  a NumPy or FAISS matrix made elsewhere, copied into an index
blocks      the rows that one process searches, where it searches them
nearest     what is nearest in float32: FAISS, or a product and a selection on a GPU
search      exact, reproducible search over blocks, whatever found what is near
approximate  search among candidates that FAISS's lists or graph name
searcher    search by all processes of a job, each its own shards
building    an approximate kind built over shards, and its recall measured
faiss_file  an index as one flat FAISS file
languages   whose stop words and stemmer BM25 takes
words       texts cut into the words that BM25 matches, in every script
bm25        the lexical baseline over the same rows
fusion      the retriever's ranking and BM25's made one
"""
