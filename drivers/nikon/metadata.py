"""What an ND2 says, through nd2's public model of it. Uncalibrated axes, which nd2 gives as 1.0, are unknown here."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from drivers.model import Channel, Facts, PixelSize, Position

if TYPE_CHECKING:
    from nd2 import ND2File
    from nd2.structures import Channel as NikonChannel
    from nd2.structures import FrameChannel

_JULIAN_UNIX = 2440587.5
"""Julian date of 1970-01-01."""
_EXPOSURE = re.compile(r"Exposure:\s*([\d.,]+)\s*(ms|s|µs|us)\b")
_SECONDS = {"ms": 1e-3, "s": 1.0, "µs": 1e-6, "us": 1e-6}
_CAMERA = re.compile(r"^\s*Camera Name:\s*([^,\r\n]*[^,\s])", re.MULTILINE)
"""The serial number follows after a comma."""
_MICROSCOPE = re.compile(r"^\s*Microscope Settings:\s*Microscope:\s*(.+?)\s*$", re.MULTILINE)


def channels(file: ND2File) -> list[NikonChannel]:
    """What is said of the channels; empty where nothing is, or where nd2 does not understand it."""
    try:
        return list(getattr(file.metadata, "channels", None) or [])
    except Exception:  # noqa: BLE001 - nd2 raises whatever its parsing meets (a plane without a probe: UnboundLocalError)
        return []


def pixel_size_of(file: ND2File) -> PixelSize:
    """Calibrated axes only; the distance of slices is that of the z loop where there is one."""
    found = channels(file)
    if not found:
        return PixelSize()
    volume = found[0].volume
    x, y, z = (
        value if calibrated and value > 0 else None
        for value, calibrated in zip(volume.axesCalibration, volume.axesCalibrated, strict=True)
    )
    steps = [abs(loop.parameters.stepUm) for loop in file.experiment if loop.type == "ZStackLoop"]
    return PixelSize(y, x, steps[0] if steps and steps[0] > 0 else z)


def time_step_of(file: ND2File) -> float | None:
    """The measured mean, else the period that was asked for (0: as fast as it went), of a single time loop."""
    for loop in file.experiment:
        if loop.type == "TimeLoop":
            parameters: Any = loop.parameters
            for value in (parameters.periodDiff.avg, parameters.periodMs):
                if value and value > 0:
                    return value / 1000
    return None


def channels_of(file: ND2File, count: int) -> tuple[Channel, ...]:
    """`count` channels; described only where the file describes as many."""
    found = channels(file)
    if len(found) != count:
        return (Channel(),) * count
    exposures = _exposures(file, count)
    return tuple(_channel(channel, exposures[i]) for i, channel in enumerate(found))


def _channel(channel: NikonChannel, exposure: float | None) -> Channel:
    meta = channel.channel
    return Channel(
        name=meta.name or None,
        color=f"{meta.color.r:02X}{meta.color.g:02X}{meta.color.b:02X}",
        excitation_nm=_positive(meta.excitationLambdaNm),
        emission_nm=_positive(meta.emissionLambdaNm),
        exposure_s=exposure,
    )


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None


def _exposures(file: ND2File, count: int) -> list[float | None]:
    """One for each plane that the description lists, in its order."""
    found = _EXPOSURE.findall(file.text_info.get("description", ""))
    if len(found) != count:
        return [None] * count
    return [_positive(float(f"{float(value.replace(',', '.')) * _SECONDS[unit]:.9g}")) for value, unit in found]


def objective_of(file: ND2File) -> tuple[float | None, Facts]:
    """(magnification, facts)."""
    found = channels(file)
    scope = found[0].microscope if found else None
    description = file.text_info.get("description", "")
    microscope, camera = _MICROSCOPE.search(description), _CAMERA.search(description)
    facts = Facts(
        microscope_model=microscope[1] if microscope else None,
        objective_model=(scope.objectiveName or "").strip() or None if scope else None,
        objective_na=_positive(scope.objectiveNumericalAperture) if scope else None,
        detector_model=camera[1] if camera else None,
        software=(file.text_info.get("appVersion") or "").strip() or None,
    )
    return (_positive(scope.objectiveMagnification) if scope else None), facts


def frame_of(file: ND2File, number: int) -> FrameChannel | None:
    """What is said of one frame, None where nothing is (older or damaged metadata)."""
    try:
        found: Any = file.frame_metadata(number)
        return found.channels[0]
    except Exception:  # noqa: BLE001 - nd2 raises whatever its parsing meets; a date is not worth the slide
        return None


def acquired_at(frame: FrameChannel | None) -> datetime | None:
    """UTC."""
    days = 0.0 if frame is None else frame.time.absoluteJulianDayNumber
    if not 2_400_000 < days < 2_600_000:
        return None
    seconds = round((days - _JULIAN_UNIX) * 86400, 3)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def position_of(frame: FrameChannel | None) -> Position | None:
    """Of the upper left pixel: the stage's position and the shift from there that the file's matrix gives."""
    if frame is None:
        return None
    stage, matrix = frame.position.stagePositionUm, frame.volume.pixelToStageTransformationMatrix
    if matrix is None or len(matrix) < 6:
        return None
    return Position(stage.y + matrix[5], stage.x + matrix[2], stage.z)
