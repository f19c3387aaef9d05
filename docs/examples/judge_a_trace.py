"""Say what kind of workload an I/O trace shows, and why: judge_a_trace.py TRACE."""

import sys

import tiering

profile = tiering.profile_trace(sys.argv[1])
print(f"{profile.format}: {profile.bytes_read:,} bytes read, {profile.bytes_written:,} written")

verdict = tiering.classify(profile)
print(f"{verdict.workload} ({verdict.probability:.0%})")
for fact in verdict.facts:
    print("despite" if fact.against else "because", fact.text)
for note in verdict.notes:
    print("note:", note)
