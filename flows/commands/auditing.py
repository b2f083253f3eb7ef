"""`slidemill audit`: are the stores that the service made still there, whole, and the ones that it made?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.service import Config, Json, opened, show

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from flows.service.audit import Audited


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(audit)


def audit(
    folder: Annotated[str | None, typer.Option(help="Only slides of this folder of the settings.")] = None,
    depth: Annotated[str, typer.Option(help="quick: sizes and some chunks of each; full: every chunk.")] = "quick",
    rate: Annotated[float | None, typer.Option(min=0.001, help="At most so many MB of slides a second.")] = None,
    anew: Annotated[bool, typer.Option("--again", help="Convert anew what is gone, damaged, another.")] = False,
    path: Config = None,
    as_json: Json = False,
) -> int:
    """Look at every store that was made: is it there, whole, the one that was made? 1 where one is not."""
    from converter.errors import OptionError
    from flows.service.audit import audit as looked

    if depth not in ("quick", "full"):
        raise OptionError(f"--depth {depth}: choose quick or full")
    checked, wrong = 0, list[dict[str, Any]]()
    with opened(path, looks=True) as (_, engine):
        for found in looked(engine, folder, depth, None if rate is None else rate * 1e6):
            checked += 1
            if found.wrong is not None:
                wrong.append(_told(engine, found, anew=anew))
    lines = [f"{one['id']}  {one['output']}: {one['wrong']}: {one['reason']}{_after(one)}" for one in wrong]
    show(
        as_json,
        {"checked": checked, "wrong": wrong},
        [*lines, f"{checked} stores looked at, {len(wrong)} not as they were made"],
    )
    return 1 if wrong else 0


def _told(engine: Engine, found: Audited, *, anew: bool) -> dict[str, Any]:
    from converter.errors import Refused
    from flows.service.audit import again

    row, aside, queued, reason = found.row, None, False, found.reason
    if anew:
        try:
            aside, queued = again(engine, found), True
        except (Refused, OSError) as error:
            reason = f"{reason}; {error}"
    told = {"id": row.id, "folder": row.folder, "path": row.path, "output": row.output, "wrong": str(found.wrong)}
    return told | {"reason": reason, "queued": queued, "aside": aside}


def _after(one: dict[str, Any]) -> str:
    if not one["queued"]:
        return ""
    return "; queued again" + (f", what is there is {one['aside']} now" if one["aside"] else "")
