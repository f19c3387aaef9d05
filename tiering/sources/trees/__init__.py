"""Walk directory trees of images, local and remote, in an order that depends only on the names.

Open `walk` first: it lists the images of a tree. `local` and `remote_folder` list one directory each.
"""
