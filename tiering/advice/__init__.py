"""Where and how to keep a dataset: predict time and cost of each tier, format and cache, and recommend one.

Open `recommend.py` first: it lists the possible options, predicts each, drops those that break a constraint, and ranks
the rest. `prediction.py` is the performance model below it, and `catalog.py` holds the facts about storage tiers.
Two smaller questions have a module each: `estimate.py` (how much does a training run read?) and `cache_size.py`
(how large should a cache be?).
"""
