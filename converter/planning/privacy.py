"""What may be written of a slide: associated images by role, and what the receipt says was left out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from converter.errors import OptionError
from converter.options import Options
from drivers.model import Slide

KNOWN_ROLES = ("thumbnail", "macro", "label", "overview", "preview")
_OF_THE_SPECIMEN = re.compile(r"(thumbnail|map|mask|palette|phase|reduced|all-tiles|labels)(-.*)?")
"""Roles that show neither the label nor text. Others may: overlays of DICOM hold names, and of a page without a description
nothing is known."""


def roles(slide: Slide, options: Options) -> tuple[list[str], list[str]]:
    """(roles to convert, roles left out). Raises OptionError where `strict` forbids what was asked for."""
    asked = [] if options.associated == ("none",) else list(options.associated)
    if options.privacy == "strict":
        forbidden = sorted(role for role in asked if not _OF_THE_SPECIMEN.fullmatch(role))
        if forbidden:
            raise OptionError(
                f"--privacy strict does not allow --associated {','.join(forbidden)}: these images may show the label"
            )
    unknown = [r for r in asked if r not in KNOWN_ROLES and r not in slide.associated]
    if unknown:
        raise OptionError(f"associated image {unknown[0]!r} is not known; roles are {', '.join(KNOWN_ROLES)}")
    kept = [role for role in slide.associated if role in asked]
    return kept, [role for role in slide.associated if role not in kept]


def left_out(dropped_roles: Sequence[str], slide: Slide, options: Options, from_xml: Sequence[str]) -> list[str]:
    """Everything that was not carried over, for the receipt."""
    raw = ["raw metadata"] if slide.raw_metadata and options.privacy != "keep" else []
    return [*dropped_roles, *raw, *from_xml]
