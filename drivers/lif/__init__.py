"""Leica LIF, LOF and XLEF: containers, images and metadata. The driver is drivers/formats/lif.py."""
