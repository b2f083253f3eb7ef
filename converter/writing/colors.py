"""The colours in which fluorophores are usually shown: for display only, where the file states no colour.

Source: a dye's emission maximum (FPbase, Thermo Fisher's Molecular Probes handbook), shown in OMERO's default for its
band (blue up to 500 nm, green up to 560, red above); far red, above 640 nm, is magenta, so that Cy5 is told from Cy3.
"""

from __future__ import annotations

import re

from drivers.model import Channel

BLUE, CYAN, GREEN, YELLOW, RED, MAGENTA = "0000FF", "00FFFF", "00FF00", "FFFF00", "FF0000", "FF00FF"
_DYES = {
    BLUE: r"dapi|hoechst(?:\W?\d+)?|e?bfp2?|m?tagbfp2?|pacific\W?blue",
    CYAN: r"[em]?cfp|m?cerulean\d?|mturquoise2?",
    GREEN: r"(?:[ems]*|sf|ro|ac|tag|cop|turbo)gfp\d?|fitc|fluorescein|cy(?:anine)?\W?2|fluo\W?4|gcamp\w*|mneongreen|calcein"
    r"|zsgreen1?|sytox\W?green|sp(?:ectrum)?\W?green|opal\W?520",
    YELLOW: r"[em]?yfp|m?venus|m?citrine",
    RED: r"tritc|rhodamine|tamra|cy(?:anine)?\W?3(?:\W5)?|[em]?rfp1?|(?:tag|turbo)rfp(?:\W?t)?|mcherry\d?|tdtomato|dsred2?"
    r"|mscarlet\w?|mkate2?|mruby\d?|(?:texas|tx)\W?red|propidium\W?iodide|sp(?:ectrum)?\W?orange|opal\W?(?:540|570|620)",
    MAGENTA: r"cy(?:anine)?\W?5(?:\W5)?|cy(?:anine)?\W?7|m?irfp\d*|draq5|opal\W?(?:650|690|780)"
    r"|quasar\W?670|irdye\W?\d{3}(?:cw)?",
}
_NAMED = {color: re.compile(rf"(?<![a-z0-9])(?:{dyes})(?![a-z0-9])") for color, dyes in _DYES.items()}
_NUMBERED = re.compile(r"(?<![a-z0-9])(?:alexa\W?(?:fluor)?|af|dylight|atto|cf)\W{0,2}(\d{3})[a-z]?(?![a-z0-9])")
_EXCITED = ((440, BLUE), (515, GREEN), (535, YELLOW), (620, RED), (800, MAGENTA))
_EMITTED = ((500, BLUE), (560, GREEN), (640, RED), (900, MAGENTA))


def usual_color(channel: Channel) -> str | None:
    """RRGGBB by the fluor, else the dye that the name has as a word, else the emission; None where none tells one colour."""
    for text in (channel.fluor, channel.name):
        found = _dyes(text or "")
        if found:
            return found.pop() if len(found) == 1 else None
    return None if channel.emission_nm is None else _band(channel.emission_nm, 380, _EMITTED)


def _dyes(text: str) -> set[str]:
    words = text.casefold().replace("_", " ")
    found = {color for color, dyes in _NAMED.items() if dyes.search(words)}
    numbered = (_band(float(number), 350, _EXCITED) for number in _NUMBERED.findall(words))
    return found | {color for color in numbered if color is not None}


def _band(nm: float, lowest: float, bands: tuple[tuple[int, str], ...]) -> str | None:
    return next((color for highest, color in bands if lowest <= nm <= highest), None)
