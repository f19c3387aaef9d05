"""The table of names: what real names stand for, and what must stand for nothing."""

from __future__ import annotations

import polars as pl
import pytest

from tiering.trace.name_kinds import file_kind, is_checkpoint, library_bits, process_kinds, program_bits, split


def kinds(bits: pl.Series) -> set[str]:
    return {kind for number, kind in enumerate(process_kinds()) if bits[0] >> number & 1}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/opt/conda/lib/python3.11/site-packages/torch/lib/libtorch_cpu.so", "deep_learning"),
        ("/home/a/.venv/lib/python3.12/site-packages/jaxlib/xla_client.py", "deep_learning"),
        ("/usr/local/lib/libtensorflow_framework.so.2", "deep_learning"),
        ("/usr/lib/x86_64-linux-gnu/libcuda.so.1", "accelerator"),
        ("/dev/nvidia0", "accelerator"),
        ("/usr/lib/x86_64-linux-gnu/libturbojpeg.so.0", "image_decoder"),
        ("/usr/lib/x86_64-linux-gnu/librocksdb.so.7.8", "key_value"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", None),
        ("/usr/lib/python3/dist-packages/torchlight/__init__.py", None),
        ("/data/torch/train.bin", None),
    ],
)
def test_libraries(path, kind):
    assert kinds(library_bits(pl.Series([path]))) == ({kind} - {None})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("/usr/bin/python3.11", "interpreter"),
        ("/usr/lib/gcc/x86_64-linux-gnu/12/cc1plus", "compiler"),
        ("/usr/bin/x86_64-linux-gnu-gcc-12", None),
        ("/usr/bin/tar (deleted)", "archive"),
        ("[aws-cli/2.15.0 Python/3.11.6 Linux/6.1]", "copy"),
        ("restic/0.16.4", "backup"),
        ("MinIO (linux; amd64) minio-go/v7.0.67", None),
        ("/opt/tartan", None),
    ],
)
def test_programs(name, kind):
    assert kinds(program_bits(pl.Series([name]))) == ({kind} - {None})


@pytest.mark.parametrize(
    ("path", "kind", "checkpoint", "part"),
    [
        ("/data/train/n01/a.JPEG", "image", False, "training"),
        ("/data/valid/0001.png", "image", False, "validation"),
        ("/data/shards/train-00012.tar", "archive", False, "training"),
        ("/runs/checkpoint-500/model.safetensors", "records", True, None),
        ("/runs/epoch=3-step=900.ckpt", None, True, None),
        ("/srv/app.db-wal", "database", False, None),
        ("/home/a/training.py.txt", "text", False, None),
        ("/data/retrain/val_loss", None, False, None),
    ],
)
def test_files(path, kind, checkpoint, part):
    found = pl.Series([path])
    assert (file_kind(found)[0], is_checkpoint(found)[0], split(found)[0]) == (kind, checkpoint, part)
