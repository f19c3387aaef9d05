"""Profile a directory of images, and ask where and how to keep it: profile_and_recommend.py IMAGES."""

import sys

import tiering

profile = tiering.profile_dataset(sys.argv[1])
print(f"{profile.files:,} images, {profile.bytes:,} bytes")

job = tiering.Job(epochs=90)
advice = tiering.recommend(profile, job=job)
print(f"Keep it as {advice.choice.format} on {advice.choice.tier_title}.")
for note in advice.notes:
    print("-", note)
