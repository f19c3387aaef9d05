"""Which files of a directory belong to one sample."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tiering.sources.trees import siblings
from tiering.sources.trees.siblings import with_keys


def shared(*names: str) -> dict[str, str]:
    keys = with_keys(sorted(name.encode() for name in names))
    return {name.decode(): key.decode() for name, key in keys if key is not None}


def test_masks_captions_and_labels_share_the_key_of_their_image():
    found = shared("000.jpg", "000.mask.png", "000.txt", "000.json", "1.jpg", "notes.txt", "000/", "000.d/")
    assert found == dict.fromkeys(("000.jpg", "000.mask.png", "000.txt", "000.json"), "000")
    assert shared("a.jpg", "a.png") == {"a.jpg": "a", "a.png": "a"}
    assert shared("photo.jpg", "photo.jpg.json") == {"photo.jpg": "photo", "photo.jpg.json": "photo"}


def test_numbers_and_whole_names_go_on_with_a_name_and_share_no_key():
    assert shared("22.jpg", "22.05.jpg", "22.06.jpg") == {}
    assert shared("photo.jpg", "photo.jpg.png") == {}
    assert shared("a.txt", "a.json", "a/", ".x.jpg", ".x.txt") == {}


def test_a_description_of_a_directory_is_its_own_key():
    assert shared("a.jpg", "metadata.jsonl") == {"metadata.jsonl": "metadata.jsonl"}


parts = st.sampled_from(["a", "b", "a.mask", "a.b", "1", "a.1", "", ".h"])
ends = st.sampled_from([".jpg", ".png", ".txt", ".jpg.json", "", "/"])


@given(
    st.sets(st.tuples(parts, ends).map("".join).filter(lambda name: name.strip("/")), max_size=20), st.integers(1, 7)
)
def test_it_does_not_matter_how_many_names_are_looked_at_together(names, together):
    ordered = sorted(name.encode() for name in names)
    whole = list(with_keys(ordered))
    before, siblings._TOGETHER = siblings._TOGETHER, together
    try:
        assert list(with_keys(ordered)) == whole
    finally:
        siblings._TOGETHER = before
    assert [name for name, _ in whole] == ordered
