"""The forms of an export: files, WebDataset's tar files, and Hugging Face's Parquet.

Open `batches.py` first: it reads the samples and checks their bytes. `folder.py`, `webdataset.py` and `parquet.py` each
write one form into the directory that `directory.py` makes.
"""
