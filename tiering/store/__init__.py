"""Packed datasets, readable by other tools."""
