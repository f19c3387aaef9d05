"""Shuffled epochs of the same images through tiering and through others: one module a peer.

A peer's module has
HOW: how it stores and reads, in a few words; PACKAGES: whose versions decide, the first its own.
pack(images, to): pack a directory of class folders into a new directory.
opened(at, batch_size): open that for reading, and return a function that takes the number of an epoch and yields its
    batches: a sequence of images (anything with a buffer of their encoded bytes) and a sequence of labels.
"""
