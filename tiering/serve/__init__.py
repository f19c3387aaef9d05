"""Shuffled epochs."""
