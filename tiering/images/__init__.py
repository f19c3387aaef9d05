"""Single images: recognise the format, read the header, check that a file is whole, decode the pixels.

Open `image` first: it holds probe, check_image and decode. `formats` recognises images by their first bytes or name,
`decoders` opens them with Pillow, and `pixels` brings them to one shape for a pixel store.
"""
