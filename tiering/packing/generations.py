"""Replace the manifest of a finished store by that of its next generation, and keep the earlier one.

The earlier manifest is copied to `manifests/` before the new one takes its place. The replacement is conditional, so of
two writers only one succeeds. Whenever a writer is killed, the store is of the old generation or of the new one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tiering.arrays import AnyArray
from tiering.errors import UsageError, from_os_error
from tiering.packing.changing import ChangeNote, begin_change, read_note, settle
from tiering.packing.documents import write_documents
from tiering.packing.workspace import Workspace, unfinished_append, workspace
from tiering.storage import conditional
from tiering.storage.local import sync
from tiering.storage.location import Location
from tiering.store.changes import TIME, Action, Change, change_of
from tiering.store.index import index_documents, index_writer
from tiering.store.layout import MANIFEST, index_name, kept_manifest_name
from tiering.store.manifest import Manifest, encode_manifest, read_manifest
from tiering.store.open import open_packed
from tiering.store.protocol import Store
from tiering.system.signals import put_off


@dataclass(frozen=True, slots=True)
class OpenChange:
    """A finished store that is being changed. base: its last generation. version: of that generation's manifest."""

    space: Workspace
    base: Store
    version: str

    @property
    def manifest(self) -> Manifest:
        """The manifest of the last generation."""
        return self.base.manifest

    def begin(self, action: Action, *, shards: int = 0, plan: str = "") -> None:
        """Note what is going to be written, so that the next command can remove it after a kill, or go on with it.

        shards: how many will be packed. plan: a digest of a purge. If one with the same plan is unfinished, this one
        goes on with it; any other is undone.
        """
        first = self.manifest.new_shard
        generation = self.manifest.generation + 1
        note = ChangeNote(action=action, generation=generation, first=first, end=first + shards, plan=plan)
        if plan and read_note(self.space.target) == note:
            return
        settle(self.space.target)
        begin_change(self.space.target, note, self.manifest)

    def write(
        self,
        action: Action,
        counts: Mapping[str, int],
        parts: Iterable[Mapping[str, AnyArray]],
        *,
        ended: Sequence[int] = (),
        finish: Callable[[], Mapping[str, Any]] = dict,
        **update: Any,
    ) -> Manifest:
        """Write the index and the manifest of the next generation, and return that manifest.

        counts: of samples, by what happened to them. parts: the rows of its index, as columns. ended: the
        generations that it ends. update: fields of the manifest that differ. finish: called after all parts, returns
        more of them.
        """
        target, work, generation = self.space.target, self.space.work, self.manifest.generation + 1
        name = index_name(generation)
        fields = update.get("fields", self.manifest.fields)
        samples = size = 0
        with index_writer(target / name, work, fields) as columns:
            for part in parts:
                columns.append(part)
                samples, size = samples + len(part["size"]), size + int(part["size"].sum())
        update |= finish()
        written = {
            "generation": generation,
            "index": name,
            "samples": samples,
            "image_bytes": size,
            "columns": columns.crcs,
            "documents": update.pop("documents", self.manifest.documents)
            | write_documents(target, index_documents(name, columns.counts, fields), work),
        }
        manifest = self.manifest.model_copy(update=update | written)
        manifest = with_log(manifest, target, self.manifest, action, counts, ended)
        commit_manifest(target, manifest, self.version, work)
        return manifest


@contextmanager
def changing(location: Location, *, purges: bool = False) -> Iterator[OpenChange]:
    """Lock a finished store to change it. A change that fails leaves the store as it was.

    purges: the change may go on with an unfinished purge. One that is interrupted keeps its shards for the next.
    Raises UsageError if an append to it is unfinished, StoreError if there is no finished store.
    """
    try:
        read_manifest(location)  # before making a workspace: a directory without a manifest is not a store
        with workspace(location, fresh=False, keep_purge=purges) as space:
            _, version = (location / MANIFEST).read_version()
            manifest = read_manifest(location)
            if found := unfinished_append(location, manifest):
                raise UsageError(str(location), expected="a store without an unfinished append", found=found)
            opened = OpenChange(space, open_packed(location, manifest), version)
            try:
                yield opened
            except BaseException as error:
                with put_off():
                    settle(location, keep_purge=purges and isinstance(error, KeyboardInterrupt))
                raise
            if read_manifest(location).generation == manifest.generation:
                settle(location)  # an unfinished purge with which this change did not go on
            space.work.remove()
    except OSError as error:
        raise from_os_error(error, location) from error


def with_log(
    manifest: Manifest,
    store: Location,
    base: Manifest,
    action: Action,
    counts: Mapping[str, int],
    ended: Sequence[int] = (),
) -> Manifest:
    """Return a manifest whose log continues that of the generation before it.

    store: whose manifest.json is still the earlier one. counts: of samples, by what happened to them. ended:
    the generations that end with it.
    """
    earlier = base.log
    if not base.log:
        written = (store / MANIFEST).modified()
        earlier = [change_of(base).model_copy(update={"time": written and _clamped(written)})]
    change = Change(
        generation=manifest.generation,
        action=action,
        time=_clamped(datetime.now(UTC)),
        samples=manifest.samples,
        image_bytes=manifest.image_bytes,
        counts=dict(counts),
    )
    gone = {"ended": manifest.generation}
    log = [each.model_copy(update=gone) if each.generation in ended else each for each in earlier]
    return manifest.model_copy(update={"log": [*log, change]})


def _clamped(time: datetime) -> str:
    """Return a time in UTC, no later than SOURCE_DATE_EPOCH.

    With that variable (reproducible-builds.org/specs/source-date-epoch) equal changes give equal stores.
    """
    latest = os.environ.get("SOURCE_DATE_EPOCH", "")
    if latest.isdecimal():
        time = min(time, datetime.fromtimestamp(int(latest), UTC))
    return time.strftime(TIME)


def commit_manifest(target: Location, manifest: Manifest, version: str | None, work: Location) -> None:
    """Write the manifest, which makes all other files count.

    version: of the manifest that it replaces; None for a new local store, which does not have its final name yet.
    """
    if version is not None:
        before, now = (target / MANIFEST).read_version()
        if now != version:
            raise conditional.changed((target / MANIFEST).url)
        ended = any(each.ended for each in manifest.log if each.generation == manifest.generation - 1)
        if not ended:
            # Two writers would write the same bytes here.
            (target / kept_manifest_name(manifest.generation - 1)).write(before, work)
    if target.local:
        # Every directory entry must be durable before the manifest names the files.
        for directory, _, _ in os.walk(target.local):
            sync(Path(directory))
    if version is not None:
        (target / MANIFEST).write_if(encode_manifest(manifest), version, work)
    else:
        (target / MANIFEST).write(encode_manifest(manifest), work)
    if target.local:
        sync(target.local)
