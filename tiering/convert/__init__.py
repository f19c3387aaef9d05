"""Directory in, store out."""
