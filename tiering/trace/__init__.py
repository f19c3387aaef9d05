"""What was done to the storage."""
