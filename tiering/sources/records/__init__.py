"""Datasets that other programs packed: Parquet with images in it, TFRecord, MDS, LitData and LMDB.

Open `record` first: a record is a sample whose image is a range of a file. `record_batches` turns the records of any
format into the frames of a source. Each format is one module.
"""
