"""Put a local cache in front of a store on slow storage: cache_a_slow_store.py STORE CACHE."""

import sys

import tiering

store, directory = sys.argv[1:]
with tiering.cached(store, "1GB", directory) as cache:
    loader = tiering.Loader(cache, batch_size=32)
    for epoch in range(2):
        before = cache.stats()
        for _ in loader.epoch(epoch):
            pass
        now = cache.stats()
        hits, misses = now.hits - before.hits, now.misses - before.misses
        print(f"epoch {epoch}: hit ratio {hits / (hits + misses):.0%}")
