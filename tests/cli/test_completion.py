"""The Tab key completes values in bash, zsh and fish: the shells run, and a person types."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.conftest import PROGRAM
from tests.terminal import InTerminal

#: How each shell starts without anybody's settings, and how it loads the completion that --show-completion prints.
SHELLS = {
    "bash": (("bash", "--norc", "--noprofile"), "source loaded"),
    "zsh": (("zsh", "-f"), "autoload -Uz compinit; compinit -u -D; source loaded"),
    "fish": (("fish", "--no-config"), "source loaded"),
}
#: What is typed, with > for Tab, and the words that the program then gets. Of each kind of value one is enough for
#: every run: a completion takes a third of a second.
TYPED = {
    "tiers show nv>": ["tiers", "show", "nvme"],
    "convert photos photos.zarr --codec gz>": ["convert", "photos", "photos.zarr", "--codec", "gzip"],
    "info photos.stores/st>": ["info", "photos.stores/store.lmdb"],
    "classify tr>": ["classify", "train.strace"],
}
MORE = {
    "tiers list --cloud aw>": ["tiers", "list", "--cloud", "aws"],
    "recommend prof> --tier par>": ["recommend", "profile.json", "--tier", "parallel-fs"],
    "info ph>st>": ["info", "photos.stores/store.lmdb"],
    "place train.strace --capacity sata>": ["place", "train.strace", "--capacity", "sata-ssd"],
    "bench st --emulate resnet50-h>": ["bench", "st", "--emulate", "resnet50-h100"],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A directory with stores, traces and others; `tiering` completes there, and else writes down its words."""
    (tmp_path / "photos.stores" / "store.lmdb").mkdir(parents=True)
    (tmp_path / "photos.stores" / "store.lmdb" / "manifest.json").touch()
    (tmp_path / "photos.stores" / "notes.txt").touch()
    for name in ("profile.json", "prose.md", "train.strace", "train.py", "readme.md", ".hidden.strace"):
        (tmp_path / name).touch()
    program = tmp_path / "bin" / "tiering"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nif [ -n "$_TIERING_COMPLETE" ]; then exec {PROGRAM} "$@"; fi\nprintf "%s\\n" "$@" > words.new\n'
        "mv words.new words\n"
    )
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("lines", [TYPED, pytest.param(MORE, marks=pytest.mark.slow)], ids=["some", "all"])
@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_values(shell, lines, place):
    words, load = SHELLS[shell]
    assert shutil.which(words[0]), f"the tests need {shell}: apt install {shell}"
    environment = os.environ | {"_TIERING_COMPLETE": f"source_{shell}"}
    (place / "loaded").write_bytes(subprocess.run([PROGRAM], env=environment, capture_output=True, check=True).stdout)
    with InTerminal(words, 120, 30) as typing:
        typing.type(f"{load}; touch ready\n")
        typing.until(lambda _: (place / "ready").exists())
        for line, wanted in lines.items():
            # What is typed while a shell completes waits for it.
            typing.type(f"tiering {line.replace('>', chr(9))}\n")
            typing.until(lambda _: (place / "words").exists())
            assert (place / "words").read_text().split("\n")[:-1] == wanted
            (place / "words").unlink()
        typing.type("exit\n")
        assert typing.wait() == 0
