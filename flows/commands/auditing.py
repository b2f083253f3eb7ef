"""`slidemill audit`: are the stores that were made still there, whole, the ones that were made? `again`: make one anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.service import Config, Json, OfFolder, OfKind, opened, show

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from flows.service.audit import Audited
    from flows.settings import Settings


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(audit)
    app.command()(again)
    app.command()(dismiss)


def audit(
    folder: Annotated[str | None, typer.Option(help="Only slides of this folder of the settings.")] = None,
    depth: Annotated[str, typer.Option(help="quick: sizes and some chunks of each; full: every chunk.")] = "quick",
    rate: Annotated[float | None, typer.Option(min=0.001, help="At most so many MB of slides a second.")] = None,
    found: Annotated[bool, typer.Option("--found", help="Only those found wrong before, by the service too.")] = False,
    anew: Annotated[bool, typer.Option("--again", help="Convert anew what is gone, damaged, another.")] = False,
    path: Config = None,
    as_json: Json = False,
) -> int:
    """Look at every store that was made: is it there, whole, the one that was made? 1 where one is not."""
    from converter.errors import OptionError
    from flows.service.audit import Scope
    from flows.service.audit import audit as looked

    if depth not in ("quick", "full"):
        raise OptionError(f"--depth {depth}: choose quick or full")
    checked, wrong = 0, list[dict[str, Any]]()
    scope = Scope(folder, found, depth, None if rate is None else rate * 1e6)
    with opened(path, looks=True) as (settings, engine):
        for one in looked(engine, settings, scope):
            checked += 1
            if one.finding.wrong is not None:
                wrong.append(_told((settings, engine), one, anew=anew))
    lines = [f"{one['id']}  {one['output']}: {one['wrong']}: {one['reason']}{_after(one)}" for one in wrong]
    show(
        as_json,
        {"checked": checked, "wrong": wrong},
        [*lines, f"{checked} stores looked at, {len(wrong)} not as they were made"],
    )
    return 1 if wrong else 0


def _told(ledger: tuple[Settings, Engine], found: Audited, *, anew: bool) -> dict[str, Any]:
    from converter.errors import Refused
    from flows.service.again import repair

    settings, engine = ledger
    row, aside, queued, reason = found.row, None, False, found.finding.reason
    if anew:
        try:
            aside, queued = repair(engine, settings, row, found.finding), True
        except Refused as error:
            reason = f"{reason}; {error}"
    told = {"id": row.id, "folder": row.folder, "path": row.path, "output": row.output, "wrong": str(found.finding.wrong)}
    return told | {"reason": reason, "queued": queued, "aside": aside}


def _after(one: dict[str, Any]) -> str:
    if not one["queued"]:
        return ""
    return "; queued again" + (f", what is there is {one['aside']} now" if one["aside"] else "")


def again(
    slides: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids in `list`, or their first characters.")],
    path: Config = None,
    as_json: Json = False,
) -> int:
    """Convert slides once more that are done, with the options their folders have now. What is there is renamed before."""
    from converter.errors import Refused
    from flows.service import orders
    from flows.service.again import convert_again

    told = list[dict[str, Any]]()
    with opened(path, looks=True) as (settings, engine):
        for row in [orders.one(engine, slide) for slide in slides]:
            one: dict[str, Any] = {"id": row.id, "path": row.path, "output": row.output, "queued": True, "aside": None}
            try:
                one["aside"] = convert_again(engine, settings, row)
            except Refused as error:
                one |= {"queued": False, "reason": str(error)}
            told.append(one)
    lines = [f"{one['id']}  {one['path']}{_after(one)}" if one["queued"] else one["reason"] for one in told]
    show(as_json, {"slides": told}, lines)
    return 0 if all(one["queued"] for one in told) else 1


def dismiss(
    slides: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Slides, or none with --folder.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All slides in quarantine.")] = False,
    folder: OfFolder = None,
    kind: OfKind = None,
    path: Config = None,
    as_json: Json = False,
) -> int:
    """Leave slides in quarantine unconverted: they count as wrong no more. `list --state dismissed`; back by `retry ID`."""
    from converter.errors import OptionError
    from flows.ledger.tables import State
    from flows.service import orders

    several = everything or folder is not None or kind is not None
    if several == bool(slides):
        raise OptionError("dismiss: give IDs, or --all, --folder, --kind")
    with opened(path, looks=True) as (_, engine):
        rows = [orders.one(engine, slide) for slide in slides] if slides else orders.quarantined(engine, folder, kind)
        other = next((row for row in rows if row.state != State.QUARANTINED), None)
        if other is not None:
            raise OptionError(f"slide {other.id} is {other.state}; only those in quarantine can be dismissed")
        ids = orders.dismiss(engine, rows)
    show(as_json, {"dismissed": ids}, [f"{len(ids)} dismissed"])
    return 0
