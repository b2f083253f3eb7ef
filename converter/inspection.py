"""What `inspect` tells of a slide. No pixel is read; what the file does not state is null."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from drivers.model import Channel, Level, Scene, Slide


def inspection(slide: Slide) -> dict[str, Any]:
    """The shape of CLI.md, `inspect --json`."""
    first = slide.scenes[0]
    icc = first.icc
    acquired = first.facts.acquired
    return {
        "path": str(slide.path),
        "driver": slide.driver,
        **_files(slide),
        "scenes": [_scene(i, scene) for i, scene in enumerate(slide.scenes)],
        "associated": [{"role": role, "y": scene.shape.y, "x": scene.shape.x} for role, scene in slide.associated.items()],
        "icc": None if icc is None else {"bytes": len(icc)},
        "acquired": None if acquired is None else acquired.isoformat(),
        "warnings": list(slide.warnings),
    }


def _files(slide: Slide) -> dict[str, Any]:
    """Names and bytes; of a slide behind a URL those that are known, and no sum where the server does not list them."""
    if slide.remote is None:
        return {"files": [str(path) for path in slide.files], "bytes": sum(path.stat().st_size for path in slide.files)}
    objects = slide.remote.objects()
    total = sum(found.size for found in objects) if slide.remote.complete else None
    return {"files": [f"{slide.path}/{found.key}" for found in objects], "bytes": total}


def _scene(index: int, scene: Scene) -> dict[str, Any]:
    size, position = scene.pixel_size, scene.position
    known = any(v is not None for v in (size.x_um, size.y_um, size.z_um))
    return {
        "index": index,
        "name": scene.name,
        "dtype": np.dtype(scene.dtype).name,
        "significant_bits": scene.significant_bits,
        "rgb": scene.rgb,
        "alpha": scene.alpha,
        "shape": scene.shape._asdict(),
        "pixel_size": {"z": size.z_um, "y": size.y_um, "x": size.x_um, "unit": "micrometer" if known else None},
        "time_step_s": scene.time_step_s,
        "magnification": scene.magnification,
        "position": None if position is None else {"y": position.y_um, "x": position.x_um, "unit": "micrometer"},
        "channels": [_channel(channel) for channel in scene.channels],
        "levels": [_level(level) for level in scene.levels],
        "instrument": _instrument(scene),
    }


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "name": channel.name,
        "color": channel.color,
        "inverted": channel.inverted,
        "excitation_nm": channel.excitation_nm,
        "emission_nm": channel.emission_nm,
        "exposure_s": channel.exposure_s,
    }


def _level(level: Level) -> dict[str, Any]:
    return {
        "y": level.shape.y,
        "x": level.shape.x,
        "scale": level.scale,
        "tile": {"y": level.tile.y, "x": level.tile.x},
        "compression": level.compression,
    }


def _instrument(scene: Scene) -> Mapping[str, Any]:
    facts = scene.facts
    return {
        "manufacturer": facts.microscope_manufacturer,
        "model": facts.microscope_model,
        "objective": facts.objective_model,
        "lens_na": facts.objective_na,
        "immersion": facts.immersion,
        "detector": facts.detector_model,
        "software": facts.software,
    }
