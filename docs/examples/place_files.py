"""Choose a storage tier for each file that a trace reads: place_files.py TRACE."""

import sys

import tiering

heat = tiering.read_heat(sys.argv[1])
# 100 kB of local NVMe are free; there is as much shared storage as one likes.
plan = tiering.place(heat, {"nvme": 100_000, "nfs": None}, month=tiering.Month(runs_per_month=30))
for tier in plan.summary.tiers:
    print(f"{tier.title}: {tier.files:,} files, {tier.bytes:,} bytes")
print(f"{plan.summary.monthly_usd:.4f} USD a month")
