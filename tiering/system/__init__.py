"""The kernel: system calls, limits, and what this machine offers."""
