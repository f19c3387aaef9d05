"""Measure the system: shuffled epochs, processor costs, device bandwidth and shuffle quality."""
