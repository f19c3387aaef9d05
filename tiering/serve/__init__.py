"""Serves shuffled epochs of batches from any store, to any training loop: `Loader`, and `torch` for PyTorch."""
