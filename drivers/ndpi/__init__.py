"""Hamamatsu NDPI: how its scenes are put together. The driver is drivers/formats/ndpi.py."""
