"""The cache in front of slow storage: every byte of an origin is paid for once, as far as there is room."""
