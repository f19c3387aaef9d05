"""The only room that makes system calls and reads /proc: each call, limit and mount fact is here once.

`machine` says how many processors and how much memory this process may use. `direct_reads` reads past the page cache,
`page_cache` inspects and empties it, `madvise` announces reads, `maps` maps files, `mounts` names file systems.
"""
