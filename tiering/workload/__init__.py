"""Classify a job by its trace: re-read-heavy, write-heavy, read-once or mixed.

Open `verdict` first: classify() turns the profile of a trace into a Verdict. `label` defines the four workloads,
`features` describes a trace in numbers, `classifier` holds the model, and `training` makes it.
"""
