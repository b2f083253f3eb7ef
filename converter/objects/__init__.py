"""Stores in an object store: written below their final prefix, visible by their root's metadata, which goes up last."""
