"""Reading slides: driver, slide, scene, level. Start with `open_slide`; the contract is in `drivers.model`."""

from drivers.discovery import open_slide
from drivers.model import Channel, Driver, Level, Scene, Slide
from drivers.paint import paint

__all__ = ["Channel", "Driver", "Level", "Scene", "Slide", "open_slide", "paint"]
