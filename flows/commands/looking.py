"""`inspect`, `plan` and `verify`: of one slide or store an object, of several one a line and a last one with the total."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drivers.discovery import open_slide
from drivers.errors import Incomplete
from drivers.location import Location
from flows.commands.printing import Manner, fail, print_found, print_json, put
from flows.commands.text import (
    counted,
    duration,
    inspection_lines,
    links_line,
    passed_line,
    plan_lines,
    report_lines,
    shown,
    size,
)
from flows.commands.tree import Item, Named, place_of, slides_of, stores_of
from flows.commands.walking import Choice
from flows.outcome import KNOWN, batch_code

if TYPE_CHECKING:
    from converter.options import Options

Found = dict[str, Any]
NOT_OK = 4


@dataclass(frozen=True, slots=True)
class Look:
    """How a command looks at one thing, and what it says of it and of all."""

    at: Callable[[Item], Found]
    lines: Callable[[Found], Iterable[str]]
    total: Callable[[Sequence[Found], int], Found]
    """From what was found, and how many failed."""
    total_line: Callable[[Found], str]
    code: Callable[[Found], int] = lambda _found: 0


def look_at_all(named: Named, look: Look, manner: Manner) -> int:
    """Look at everything that was named; what fails does not stop the others. The exit code, as of a batch."""
    found: list[Found] = []
    codes: list[int] = []
    for item in named.items:
        try:
            if item.fault is not None:
                raise item.fault
            found.append(look.at(item))
        except KNOWN as error:
            codes.append(fail(error, str(item.place), manner.as_json))
            continue
        codes.append(look.code(found[-1]))
        if not manner.quiet or codes[-1]:
            print_found(manner.as_json, found[-1], look.lines(found[-1]))
    if named.many:
        total = look.total(found, len(codes) - len(found))
        if manner.as_json:
            print_json({"total": total})
        elif not manner.quiet:
            put(look.total_line(total))
            _say_passed(named, manner)
    return batch_code(codes)


def _say_passed(named: Named, manner: Manner) -> None:
    if manner.verbose:
        for path, why in named.passed:
            put(f"  {shown(path)}: no slide: {shown(why)}")
    elif named.passed:
        put(passed_line(len(named.passed)))
    if named.unfollowed:
        put(links_line(named.unfollowed))


def inspect_command(words: Sequence[str], choice: Choice, manner: Manner) -> int:
    """Tell what slides are."""
    from converter.inspection import inspection

    def at(item: Item) -> Found:
        with open_slide(item.place) as slide:
            return inspection(slide)

    def total(found: Sequence[Found], failed: int) -> Found:
        counted = [one["bytes"] for one in found if one["bytes"] is not None]
        scenes = sum(len(one["scenes"]) for one in found)
        return {"slides": len(found) + failed, "failed": failed, "scenes": scenes, "bytes": sum(counted)}

    def line(all_of_it: Found) -> str:
        return f"{_counted(all_of_it)}, {counted(all_of_it['scenes'], 'scene')}, {size(all_of_it['bytes'])}"

    return look_at_all(slides_of(words, choice), Look(at, inspection_lines, total, line), manner)


def plan_command(words: Sequence[str], choice: Choice, options: Options, manner: Manner) -> int:
    """Tell what converting would write."""
    from converter.planning.duration import estimated_seconds
    from converter.planning.slide import plan_slide

    def at(item: Item) -> Found:
        with open_slide(item.place) as slide:
            plan = plan_slide(slide, options)
            return plan.as_json() | {"estimated_seconds": round(estimated_seconds(slide, plan), 2)}

    def total(found: Sequence[Found], failed: int) -> Found:
        sums = {key: sum(one[key] for one in found) for key in ("raw_bytes", "estimated_bytes", "objects")}
        seconds = sum(one["estimated_seconds"] for one in found)
        peak = max((one["peak_memory_bytes"] for one in found), default=0)
        return {
            "slides": len(found) + failed,
            "failed": failed,
            **sums,
            "peak_memory_bytes": peak,
            "estimated_seconds": round(seconds, 1),
        }

    def line(all_of_it: Found) -> str:
        return (
            f"{_counted(all_of_it)}: {size(all_of_it['raw_bytes'])} of pixels, about {size(all_of_it['estimated_bytes'])} in "
            f"{all_of_it['objects']} objects, at most about {size(all_of_it['peak_memory_bytes'])} of memory, "
            f"roughly {duration(all_of_it['estimated_seconds'])} on this machine"
        )

    return look_at_all(slides_of(words, choice), Look(at, plan_lines, total, line), manner)


def verify_command(words: Sequence[str], against: tuple[str | None, str], choice: Choice, manner: Manner) -> int:
    """Check stores; `against`: the slide, or the folder of the slides, and the depth."""
    from converter.checking.verify import verify_store

    named, (source, depth) = stores_of(words, choice), against
    slide_place = None if source is None else place_of(source)

    def at(item: Item) -> Found:
        with nullcontext() if slide_place is None else open_slide(_source(slide_place, item, named.many)) as slide:
            return verify_store(item.place, slide=slide, depth=depth).as_json()

    def total(found: Sequence[Found], failed: int) -> Found:
        whole = sum(bool(one["ok"]) for one in found)
        compared = [one["source"] for one in found if one["source"] is not None]
        pixels = sum(one["compared_pixels"] for one in compared) if source is not None else None
        checks = sum(one["checks"] for one in found)
        counts = {"stores": len(named.items), "ok": whole, "not_ok": len(found) - whole, "failed": failed}
        return {**counts, "checks": checks, "compared_pixels": pixels}

    def line(all_of_it: Found) -> str:
        words = f"{counted(all_of_it['stores'], 'store')}: {all_of_it['ok']} ok, {all_of_it['not_ok']} NOT OK"
        return words + (f", {all_of_it['failed']} could not be checked" if all_of_it["failed"] else "")

    return look_at_all(named, Look(at, report_lines, total, line, lambda found: 0 if found["ok"] else NOT_OK), manner)


def _counted(total: Mapping[str, Any]) -> str:
    failed = f", {total['failed']} failed" if total["failed"] else ""
    return f"{counted(total['slides'], 'slide')}{failed}"


def _source(source: Location, item: Item, many: bool) -> Location:
    """The slide that a store was made from. In a folder of slides it lies where the store does in its own, by its name."""
    if not many or not isinstance(source, Path) or not source.is_dir():
        return source
    from converter.checking.record import stored_receipt
    from converter.checking.stored import files_of

    receipt = stored_receipt(files_of(item.place)) or {}
    name = receipt.get("path")
    if not isinstance(name, str):
        raise Incomplete(f"{item.place.name}: has no receipt that names its slide; give --source for it alone")
    found = source / item.below / Path(name).name
    return source if not found.exists() and source.name == name else found
