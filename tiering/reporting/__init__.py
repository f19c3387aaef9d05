"""The HTML report: a single file that contains everything and opens offline.

Open `content` first: it gathers what a report shows. `page` writes the file, `charts` draws the figures.
"""
