"""A QPTIFF: how its scenes are put together. The driver is drivers/formats/qptiff.py."""
