"""What is on disk, read without changing it."""
