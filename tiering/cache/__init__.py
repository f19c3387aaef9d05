"""A cache on local disk, and in memory beside it, in front of a store on slow storage.

`tiering.cached(origin, size, directory)` returns a `CachedStore`: a store that fetches each sample from its origin once
and serves it from the cache afterwards, as long as it fits. All processes and jobs that name the same directory share
the cache. Nothing is evicted within a dataset: every epoch reads every sample once, so no policy can hit more than the
share that fits.

How it works
    A *unit* is a group of neighbouring samples, about 128 KiB in all. The cache stores whole units as *payloads*, one
    after another in numbered files of one size, the *extents*. Each dataset has a *slot table*, which says where the
    payload of each unit is: in which extent, and at which offset.

    The process that creates the file of an extent (O_EXCL) owns it. The number of extents is fixed, so the cache stays
    within its size without a lock. Only the owner writes to an extent, and it never overwrites anything. So a payload
    that was checked once stays valid, and so do views of it.

    Each slot contains a check of its own fields. Readers take no lock: a half-written slot fails its check and counts
    as empty.

On disk
    DIRECTORY/
    |-- tiering-cache.json         marker: version, size, extent size                          (directory.Marker)
    |-- lock                       flock: held to add or remove a dataset, or change the size  (directory)
    |-- datasets/
    |   `-- 9f3c...(32 hex)/       one per origin, named by the digest of its manifest         (cached_datasets)
    |       |-- about.json         origin, sample and unit counts, `filling` (differs each time it is cached again)
    |       |-- in-use             flock: shared by every process that reads the dataset
    |       `-- slots              the slot table, mapped by all processes                     (slot_table.SlotTable)
    `-- extents/
        |-- 00000                  flock: held by the process that writes to it                (extents.ExtentPool)
        `-- 00001

    slots      +-- bucket = unit mod buckets: eight slots of 16 bytes ----------------------------+
               | extent + 1 | offset | CRC-32C | check || extent + 1 | offset | CRC-32C | check ...
               +----------------------------------------------------------------------------------+
               byte locks (OFD): byte u while unit u is fetched, byte 2^40 + b while bucket b is written

    extent     +-----------------------+------+-----------+------+-----------+------------------+
               | header, 64 bytes:     | head | payload   | head | payload   | preallocated     |
               | dataset name, filling | 8 B  | of unit 7 | 8 B  | of unit 2 |                  |
               +-----------------------+------+-----------+------+-----------+------------------+
               head: size of the payload, number of the unit

    The level in memory is a second directory of the same layout in /dev/shm. It takes the units that do not fit on the
    disk. When the last process closes it, its datasets are removed.

On a hit
    1. `CachedStore.read` computes the units of the samples, and `CacheLevel.find` looks them up in the slot table.
    2. The first use of a payload in a process compares it with the slot's CRC-32C. A damaged one loses its slot.
    3. The samples are returned as views of the mapped extent.

On a miss
    1. `Filler.ask` starts a fetch on the background thread; `announce` has usually done so long before.
    2. The process locks the unit's byte in the table. If another process holds it, it waits for that one's result.
    3. `Origin.read` fetches the unit's bytes through the `Fetcher`: many ranges at once, retried, hedged, verified.
    4. `Appender.keep` writes the payload behind the last one in an extent of its own, then publishes the slot.
       If the cache is full, only the reader gets the samples, and later misses fetch single samples instead of units.

Modules, from the bottom
    files, extents, slot_table, cached_datasets, directory, memory_directory: what is on disk and in memory.
    fetcher, origin: the store behind the cache.
    level, filler, cached_store: reading through the cache, and filling it.
    stats, metrics, maintenance: counting, listing, checking and clearing.
"""
