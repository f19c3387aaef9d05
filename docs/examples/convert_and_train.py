"""Pack images into a Zarr store and serve shuffled epochs from it: convert_and_train.py IMAGES STORE."""

import sys

import tiering

images, store = sys.argv[1:]
manifest = tiering.convert(images, store, "zarr")
print(f"packed {manifest.samples:,} images of {len(manifest.labels)} classes")

loader = tiering.Loader(store, batch_size=64, seed=1, images="pixels")
for epoch in range(2):
    brightness = seen = 0.0
    for batch in loader.epoch(epoch):
        # A training step goes here. batch.labels are the numbers of the classes.
        brightness += sum(image.mean() for image in batch.images)
        seen += len(batch)
    print(f"epoch {epoch}: {seen:.0f} images, mean brightness {brightness / seen:.1f}")
