"""Traces of I/O: read them, record them, and describe them in numbers.

Open `events` first: it is the one schema of all events. `readers` turns files of many tools into such events,
`capture` records a program with strace, and `profile` makes a TraceProfile.
"""
