"""Which files of a directory belong to one sample."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tiering.sources.trees import siblings
from tiering.sources.trees.siblings import Beside, Sidecars, with_roles


def beside(*names: str) -> dict[str, dict[str, str]]:
    """Return the sidecars of each image: name by suffix."""
    roles = dict(with_roles(sorted(name.encode() for name in names)))
    found = {
        name.decode(): {suffix.decode(): file.decode() for file, suffix in role.files}
        for name, role in roles.items()
        if isinstance(role, Sidecars)
    }
    owners = {name.decode(): role.image.decode() for name, role in roles.items() if isinstance(role, Beside)}
    assert owners == {file: image for image, files in found.items() for file in files.values()}
    return found


def test_masks_captions_and_labels_are_beside_their_image():
    found = beside("000.jpg", "000.mask.png", "000.txt", "000.json", "1.jpg", "notes.txt", "000/", "000.d/", "2.txt")
    assert found == {"000.jpg": {"mask.png": "000.mask.png", "txt": "000.txt", "json": "000.json"}}
    assert beside("photo.jpg", "photo.jpg.json") == {"photo.jpg": {"jpg.json": "photo.jpg.json"}}
    assert beside("a.JPG", "a.TXT") == {"a.JPG": {"TXT": "a.TXT"}}


def test_of_several_images_of_one_name_jpg_jpeg_webp_and_png_come_first_in_this_order():
    for names, image in ((("a.png", "a.jpg"), "a.jpg"), (("a.bmp", "a.webp", "a.png"), "a.webp"),
                         (("a.tif", "a.bmp"), "a.bmp"), (("a.gif", "a.PNG"), "a.PNG")):  # fmt: skip
        assert list(beside(*names)) == [image]
    assert beside("a.mask.png", "a.tif") == {"a.tif": {"mask.png": "a.mask.png"}}


def test_numbers_and_whole_names_go_on_with_a_name_and_are_beside_nothing():
    assert beside("22.jpg", "22.05.jpg", "22.06.jpg") == {}
    assert beside("22.jpg", "22.05.jpg", "22.05.txt", "22.06.txt") == {"22.05.jpg": {"txt": "22.05.txt"}}
    assert beside("photo.jpg", "photo.jpg.png") == {}
    assert beside("a.txt", "a.json", "a/", ".x.jpg", ".x.txt") == {}
    assert beside("a.jpg", "a..txt", "a..jpg") == {"a..jpg": {"txt": "a..txt"}}


parts = st.sampled_from(["a", "b", "a.mask", "a.b", "1", "a.1", "", ".h"])
ends = st.sampled_from([".jpg", ".png", ".txt", ".jpg.json", "", "/"])


@given(
    st.sets(st.tuples(parts, ends).map("".join).filter(lambda name: name.strip("/")), max_size=20), st.integers(1, 7)
)
def test_it_does_not_matter_how_many_names_are_looked_at_together(names, together):
    ordered = sorted(name.encode() for name in names)
    whole = list(with_roles(ordered))
    before, siblings.TOGETHER = siblings.TOGETHER, together
    try:
        assert list(with_roles(ordered)) == whole
    finally:
        siblings.TOGETHER = before
    assert [name for name, _ in whole] == ordered
