"""Ready batches of the same images, made by tiering and by others: one module a way.

A module has
PACKAGES: whose versions decide.
opened(...): opens what was prepared, and returns a function that takes the number of an epoch and yields its batches:
    arrays or tensors of equal type, samples first. The arguments are those of a row of benchmarks/ready.py.
LEAD: batches that are made ahead of an epoch and not counted, where a tool never stops making batches; 0 if missing.
"""
