"""The HTML report: one file that holds everything and opens offline."""
