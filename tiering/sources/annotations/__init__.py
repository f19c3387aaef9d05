"""Annotations of folders of images: COCO and iNaturalist, Pascal VOC, YOLO and CelebA.

Open `annotated` first: it joins annotations with the images of a walk. Each format is one module.
"""
