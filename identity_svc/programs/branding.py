"""What a program's branding may be. It ends up on pages and in mails that people trust, so it holds nothing that could
act there: no script, no address that does something else than it says, no picture of any other kind than PNG."""

import re
import struct
import zlib
from typing import Final
from urllib.parse import urlsplit

from rewards.identity.v1.programs_pb2 import Branding

from svckit.errors import invalid

SIDE_MIN, SIDE_MAX = 32, 512
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHUNK: Final = struct.Struct(">I4s")
_MAIL: Final = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_ADDRESS: Final = re.compile(r"https://[!-~]+")


def check(branding: Branding) -> None:
    """Raises INVALID_REQUEST that names the part which is not usable."""
    if not branding.display_name.isprintable():
        raise invalid(**{"branding.displayName": "must be printable, on one line"})
    contact = branding.support_contact
    if contact and not _MAIL.fullmatch(contact) and not (_ADDRESS.fullmatch(contact) and urlsplit(contact).hostname):
        raise invalid(**{"branding.supportContact": "must be a mail address or an https address"})
    if branding.logo and (problem := _problem(branding.logo)):
        raise invalid(**{"branding.logo": problem})


def _problem(image: bytes) -> str:
    """What keeps the image from being a PNG of our size, from its first byte to its last; empty if nothing does."""
    if not image.startswith(_SIGNATURE):
        return "must be a PNG"
    place, names = len(_SIGNATURE), []
    while place < len(image):
        # A chunk is its length, its name, its data, and the checksum of the last two.
        length, name = _CHUNK.unpack(image[place : place + 8].ljust(8, b"\0"))
        end = place + 8 + length
        if image[end : end + 4] != struct.pack(">I", zlib.crc32(image[place + 4 : end])):
            return "is a damaged PNG"
        names.append(name)
        place = end + 4
    if names[:1] != [b"IHDR"] or names[-1] != b"IEND" or names.count(b"IEND") != 1 or b"IDAT" not in names:
        return "is a damaged PNG"
    if b"acTL" in names:
        return "must not move"
    sides = struct.unpack_from(">II", image, 16)
    if not all(SIDE_MIN <= side <= SIDE_MAX for side in sides):
        return f"must have {SIDE_MIN} to {SIDE_MAX} pixels a side"
    return ""
