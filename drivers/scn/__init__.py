"""A Leica SCN: how its scenes are put together. The driver is drivers/formats/scn.py."""
