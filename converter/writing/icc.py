"""ICC profiles: read only as far as their own description (ICC.1:2022, 7.2 and 9.2.41)."""

from __future__ import annotations


def icc_description(profile: bytes) -> str | None:
    """The profile's own description (ICC.1 tag `desc`), None where it cannot be read."""
    count = int.from_bytes(profile[128:132], "big")
    for i in range(min(count, 100)):
        at = 132 + 12 * i
        if profile[at : at + 4] == b"desc":
            offset = int.from_bytes(profile[at + 4 : at + 8], "big")
            block = profile[offset : offset + int.from_bytes(profile[at + 8 : at + 12], "big")]
            if block[:4] == b"mluc" and len(block) >= 28:
                length, start = int.from_bytes(block[20:24], "big"), int.from_bytes(block[24:28], "big")
                return block[start : start + length].decode("utf-16-be", "replace").strip("\0") or None
            return block[12 : 12 + int.from_bytes(block[8:12], "big")].decode("latin-1").strip("\0") or None
    return None
