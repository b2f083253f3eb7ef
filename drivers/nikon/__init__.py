"""Nikon ND2: its chunks, frames and metadata. The driver is drivers/formats/nd2.py."""
