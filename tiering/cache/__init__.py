"""A cache on local disk and in memory, in front of a store on slow storage."""
