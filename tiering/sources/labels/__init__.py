"""Labels and splits: from class folders, from tables of classes beside them, or from the source itself.

Open `folders` first: it decides what the folders of a dataset mean. `classes` turns labels into class numbers.
"""
