"""Zeiss CZI (ZISRAW): its segments, sub-blocks, pixels and metadata. The driver is drivers/formats/czi.py."""
