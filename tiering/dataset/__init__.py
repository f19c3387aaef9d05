"""The profile of a dataset: how many images of which sizes, formats and classes it has, counted or estimated.

Open `profile` first: profile_dataset() returns a DatasetProfile. `counting` reads every size, `tree_sample` samples
large trees, and `estimates` holds the statistics. Nothing here changes the dataset.
"""
