"""What a manifest remembers of a source, and how to open and list a source as the store remembers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path

from tiering.packing.listing import Listing, make_listing
from tiering.progress import Progress
from tiering.sources.labels.numbering import ClassNumbering
from tiering.sources.source import AnySource, Source, TableSource, open_source
from tiering.sources.tables.table import TableForm, is_readable
from tiering.storage.location import Location
from tiering.store.manifest import Manifest, SourceRecord
from tiering.text import without_secrets


def open_again(location: AnySource, manifest: Manifest, fields: Mapping[str, str] | None = None) -> Source:
    """Open a source for a finished store, and read a table as the store's own tables were read.

    A table that was packed before is read in the same way. A new table is read like the first known one whose columns
    it has, or else by its own column names. A TableSource with columns or a root decides for itself.
    fields: patterns of a folder's fields by name. They take precedence over those that the store remembers of this
    folder. A folder that it does not know is searched for the files of all patterns that it remembers.
    """
    if isinstance(location, TableSource):
        if location.columns or location.root:
            return open_source(location).with_fields(fields)
        location = location.path
    sources = [manifest.source, *manifest.earlier]
    forms = {source.url: TableForm.of(source.columns, source.root) for source in reversed(sources)}
    opened = open_source(location, forms.get(without_secrets(Location.of(location).url), forms[manifest.source.url]))
    if opened.is_tree or fields:
        remembered = {source.url: source.fields for source in reversed(sources)}
        own = remembered.get(without_secrets(opened.url))
        others = dict(chain.from_iterable(each.items() for each in remembered.values())) if own is None else {}
        return opened.with_fields({**(own or {}), **(fields or {})}, if_there=others)
    if opened.kind != "table" or without_secrets(opened.url) in forms:
        return opened
    tried = [*(forms[source.url] for source in sources), TableForm((), opened.form.root), opened.form]
    return replace(opened, form=next((form for form in tried if is_readable(opened.url, form)), opened.form))


def list_again(
    opened: Source,
    directory: Path,
    given: ClassNumbering,
    manifest: Manifest,
    *,
    images_only: bool | None,
    progress: Progress,
) -> Listing:
    """List a source for a finished store: its fields keep their kinds, and its raw arrays their shape.

    opened: as open_again returns it. Otherwise as make_listing.
    """
    held = {field.name: field for field in manifest.fields}
    return make_listing(
        opened, directory, given,
        images_only=images_only, fields=held, raw_bytes=manifest.raw_bytes, progress=progress,
    )  # fmt: skip


def source_of(listing: Listing, *, images_only: bool, others: bool = False) -> SourceRecord:
    """Return the manifest's record of the source. others: images from other sources were packed before."""
    form = listing.source.form
    patterns = {name: text for name, text in listing.source.patterns.items() if name in listing.field_names}
    return SourceRecord(
        url=listing.source.url, fingerprint=listing.fingerprint, root=form.root or None, columns=dict(form.columns),
        images_only=images_only, sidecars=not images_only, fields=patterns, others=others,
    )  # fmt: skip


def images_only_of(record: SourceRecord) -> bool | None:
    """Return how a source was listed for a store, as make_listing takes it."""
    return record.images_only or (False if record.sidecars else None)
