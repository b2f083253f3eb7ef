"""`slidemill pause` and `resume`: begin nothing, or nothing of a folder, until told otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.service import Config, Json, opened, show

if TYPE_CHECKING:
    from flows.service.pauses import Paused

Folder = Annotated[str | None, typer.Argument(metavar="[FOLDER]", help="A folder's name in the settings; default: all.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(pause)
    app.command()(resume)


def pause(folder: Folder = None, path: Config = None, as_json: Json = False) -> int:
    """Begin no slide any more, of a folder or at all; what is under way ends. New slides are still found and queued."""
    from flows.service import pauses

    with opened(path) as (settings, engine):
        now = pauses.pause(engine, settings, folder)
    show(as_json, _value(now), _words(now))
    return 0


def resume(folder: Folder = None, path: Config = None, as_json: Json = False) -> int:
    """Go on after `pause`."""
    from flows.service import pauses

    with opened(path) as (settings, engine):
        now = pauses.resume(engine, settings, folder)
    show(as_json, _value(now), _words(now))
    return 0


def _value(now: Paused) -> dict[str, object]:
    return {"paused": {"all": now.everything, "folders": sorted(now.folders)}}


def _words(now: Paused) -> Iterator[str]:
    if now.everything:
        yield "paused: no slide begins until `slidemill resume`"
    elif now.folders:
        yield f"paused: {', '.join(sorted(now.folders))}; the others go on"
    else:
        yield "nothing is paused"
