"""Files reached through directory descriptors."""

from __future__ import annotations

import os

import pytest

from tiering.storage.local import opened_directory


def test_an_interruption_closes_no_descriptor_twice(tmp_path, monkeypatch):
    """A number that is closed twice may be another thread's file the second time."""
    closed = []
    close = os.close

    def interrupted(descriptor):
        close(descriptor)
        closed.append(descriptor)
        if len(closed) == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "close", interrupted)
        with pytest.raises(KeyboardInterrupt), opened_directory(tmp_path, ["a", "b"], create=True):
            pass
    assert len(closed) == 2
    assert len(set(closed)) == 2
