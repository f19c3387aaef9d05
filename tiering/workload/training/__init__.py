"""Make the model that ships: `train` fits and cross-validates it, `corpus` generates the labelled runs.

No command but `tiering model train` needs this package.
"""
