"""Named benchmarks: their files, how they are judged, and what others have published.

    registry   data sets and benchmarks, read from `data/`; another one is another file there
    against    our results beside the published ones; averages over several benchmarks
    archives   archives unpacked, into their folder and nowhere else
    download   files of the web, gone on with where they broke off
    fetching   data sets fetched: what, from where, which licence, how large

What nobody has stated, such as a licence or a checksum, is null there and said to be unknown.
Nothing is fetched unless it is asked for by name. Nothing here loads torch.
"""
