"""What a store says of itself: the metadata of its root, and the receipt of the conversion that wrote it."""

from __future__ import annotations

import json
from typing import Any

from converter.receipt import KEY
from drivers.errors import Unreadable
from drivers.limits import LIMITS
from drivers.zarrstore.files import Files


def stored_receipt(files: Files) -> dict[str, Any] | None:
    """The receipt a store carries, None where it carries none. Raises Unreadable where its server fails."""
    try:
        found = root_document(files)
    except Unreadable:
        if files.local:
            return None
        raise
    except (OSError, ValueError):
        return None
    attributes = found.get("attributes", found) if isinstance(found, dict) else None
    record = attributes.get(KEY) if isinstance(attributes, dict) else None
    return record if isinstance(record, dict) else None


def root_document(files: Files) -> Any:
    """The metadata that holds the attributes of a store's root. Raises OSError, ValueError."""
    data = files.whole(root_name(files), LIMITS.metadata_bytes)
    if data is None:
        raise FileNotFoundError(f"{files.name} has no metadata")
    return json.loads(data)


def root_name(files: Files) -> str:
    """The file that holds the attributes of a store's root."""
    return "zarr.json" if files.size("zarr.json") is not None else ".zattrs"
