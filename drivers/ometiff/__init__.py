"""An OME-TIFF: how its scenes are put together. The driver is drivers/formats/ometiff.py."""
