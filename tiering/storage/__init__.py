"""Locations (paths or URLs): reads whole files and writes them atomically. Only this package writes files."""
