"""Errors of single images."""

from __future__ import annotations

from PIL import Image

from tiering.errors import DatasetError, FormatError, from_os_error

#: The most bytes of one decoded image: no store holds a larger sample.
LARGEST_DECODED = 1_900 << 20


def damaged(where: str, found: str) -> DatasetError:
    """Return the error for a file that is not one whole image. where: its name."""
    return DatasetError(
        where,
        expected="a whole image",
        found=found,
        action="Replace the file, or move it out of the dataset.",
    )


def from_decoder(where: str, kind: str, error: Exception) -> DatasetError:
    """Return the error for an exception of a decoder, which may be of any class. kind: of the image.

    Raises MachineError if the decoder failed to read the file.
    """
    message = str(error).strip().lower()
    if isinstance(error, Image.DecompressionBombError):
        return damaged(where, f"a header that claims too many pixels ({message.split(',')[0]})")
    if isinstance(error, OSError) and error.errno is not None:
        raise from_os_error(error) from error
    if "truncated" in message or isinstance(error, EOFError):
        return damaged(where, f"a truncated {kind}")
    return damaged(where, f"a damaged {kind} ({message or type(error).__name__})")


def missing_decoder(where: str, image: str, extra: str) -> FormatError:
    """Return the error for an image whose decoder is not installed. image: with its article."""
    return FormatError(
        where,
        expected="an image that can be decoded here",
        found=f"{image}, whose decoder is an extra: pip install 'tiering[{extra}]'",
        action="Then repeat the command.",
    )


def refuse_huge(where: str, *sides: int) -> None:
    """Raise DatasetError for an image of more bytes than a store can hold. sides: factors of its bytes."""
    size = 1
    for side in sides:
        size *= side
    if size > LARGEST_DECODED:
        raise damaged(where, f"a header that claims too many pixels ({size:,} bytes)")
