"""A Philips TIFF: how its scenes are put together. The driver is drivers/formats/philips.py."""
