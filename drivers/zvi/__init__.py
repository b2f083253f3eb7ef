"""Zeiss AxioVision ZVI: compound file, tags, image items, mosaics. The driver is drivers/formats/zvi.py."""
