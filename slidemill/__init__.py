"""slidemill from Python: read slides, convert them, inspect and verify. See docs/PYTHON.md.

Everything is looked up when it is first used, so that `import slidemill` costs next to nothing. What stands behind the names
lies in the packages drivers, converter and flows.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converter.checking.report import Report as Report
    from converter.errors import ConverterError as ConverterError
    from converter.options import Options as Options
    from converter.receipt import Receipt as Receipt
    from converter.writing.run import Amount as Amount
    from drivers.discovery import open_slide as open_slide
    from drivers.errors import DriverError as DriverError
    from drivers.model import Channel as Channel
    from drivers.model import Level as Level
    from drivers.model import Scene as Scene
    from drivers.model import Slide as Slide
    from slidemill.calls import convert as convert
    from slidemill.calls import get_driver_ids as get_driver_ids
    from slidemill.calls import get_version as get_version
    from slidemill.calls import inspect as inspect
    from slidemill.calls import verify as verify

    __version__: str

_HOMES = {
    "Amount": "converter.writing.run",
    "Channel": "drivers.model",
    "ConverterError": "converter.errors",
    "DriverError": "drivers.errors",
    "Level": "drivers.model",
    "Options": "converter.options",
    "Receipt": "converter.receipt",
    "Report": "converter.checking.report",
    "Scene": "drivers.model",
    "Slide": "drivers.model",
    "convert": "slidemill.calls",
    "get_driver_ids": "slidemill.calls",
    "get_version": "slidemill.calls",
    "inspect": "slidemill.calls",
    "open_slide": "drivers.discovery",
    "verify": "slidemill.calls",
}

__all__ = [
    "Amount",
    "Channel",
    "ConverterError",
    "DriverError",
    "Level",
    "Options",
    "Receipt",
    "Report",
    "Scene",
    "Slide",
    "__version__",
    "convert",
    "get_driver_ids",
    "get_version",
    "inspect",
    "open_slide",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        found: Any = import_module("converter.version").product_version()
    elif name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'slidemill' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
