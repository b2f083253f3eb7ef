"""The command line. Commands import what they need when they run, so that `--help` and `inspect` start fast."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands import service as service_cli

if TYPE_CHECKING:
    from converter.options import Options
    from flows.commands.batch import Outcome

app = typer.Typer(
    name="slidemill",
    help="Microscopy and whole-slide images to OME-Zarr: right, complete, fast, published only when whole.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="One JSON object (a line) on standard output, errors included.")]
# Whether a slide can be read is for drivers to say, in their words and with their exit code: hence plain text.
SlidePath = Annotated[str, typer.Argument(metavar="SLIDE", help="The slide's file, or the URL of an OME-Zarr store.")]
Profile = Annotated[str | None, typer.Option(help="A named profile, or a TOML file with these options.")]
OmeZarr = Annotated[str | None, typer.Option("--ome-zarr", help="0.5 (default), or 0.4 for QuPath, Bio-Formats, OMERO.")]
Layout = Annotated[str | None, typer.Option(help="auto, image or bioformats2raw.")]
Scenes = Annotated[str | None, typer.Option(help="Indices or names, comma separated, or all.")]
Levels = Annotated[str | None, typer.Option(help="dyadic: fill missing factor-2 levels; native: only the slide's own.")]
NativeLevels = Annotated[str | None, typer.Option(help="Reuse the slide's levels: auto (when they agree), never, always.")]
CodecName = Annotated[str | None, typer.Option("--codec", help="blosc-zstd-1, blosc-lz4-5, zstd-3, gzip-5, none, ...")]
Chunk = Annotated[int | None, typer.Option(help="Chunk side, a power of two.")]
Shard = Annotated[str | None, typer.Option(help="Shard side, a power of two, or none.")]
Associated = Annotated[str | None, typer.Option(help="Roles: thumbnail (default), macro, label; or none.")]
Privacy = Annotated[str | None, typer.Option(help="standard, strict (no dates, serials, label images) or keep.")]
Alpha = Annotated[str | None, typer.Option(help="drop (default: the one alpha of an 8-bit colour image) or keep.")]
Downsample = Annotated[str | None, typer.Option(help="mean, mode (label images) or nearest.")]
Workers = Annotated[int | None, typer.Option(help="Threads; default: one per processor.")]
Memory = Annotated[str | None, typer.Option(help="Refuse to start above this, e.g. 1GiB.")]
OnDamage = Annotated[str | None, typer.Option(help="fail (default), or fill unreadable tiles and say so.")]
Exists = Annotated[str | None, typer.Option(help="fail (default), skip when it is the same conversion, replace.")]
Resume = Annotated[
    bool | None, typer.Option("--resume/--no-resume", help="Take outputs of an identical earlier run as done.")
]
Verify = Annotated[str | None, typer.Option(help="Check before publishing: none, quick (default), full.")]
ProgressMode = Annotated[str, typer.Option("--progress", help="auto (on a terminal) or none.")]

service_cli.add_to(app)


def main() -> None:
    """Entry point: runs a command and exits with its code; usage errors are JSON too where JSON was asked for."""
    # Importing makes many objects that live as long as the process; looking for garbage among them took 0.15 s of a start.
    gc.set_threshold(100_000, 50, 100)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads that nothing here uses
    code = run(sys.argv[1:])
    gc.freeze()  # nor is there anything to be found among them at the end
    if "obstore" in sys.modules:
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> None:
    """End the process without ending the interpreter. Threads of obstore still let go of Python objects while a finished
    command's interpreter ends: seen once in some thousand runs, that aborted the process after all its work was done."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120  # as the interpreter itself says that what was printed did not arrive
    logging.shutdown()
    os._exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    # Newer versions of typer bring their own copy of click: what counts is the one that typer raises from.
    usage = sys.modules[typer.BadParameter.__module__]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # pyright: ignore # names may be no UTF-8
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs per tag; drivers say what matters
    try:
        return int(app(args=arguments, prog_name="slidemill", standalone_mode=False) or 0)
    except usage.NoArgsIsHelpError as error:
        error.show()
        return 0
    except usage.ClickException as error:
        if "--json" in arguments:
            message = " ".join(error.format_message().split())
            _print_json({"error": {"kind": "usage", "message": message, "retryable": False}})
        else:
            error.show(sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        from flows.outcome import interrupted

        return _fail(interrupted(), None, "--json" in arguments)
    except BrokenPipeError:
        return 1
    except Exception as error:  # noqa: BLE001 - the boundary: one line, and the class where nobody foresaw it
        return _fail(_known(error), None, "--json" in arguments)


def _known(error: Exception) -> Exception:
    from flows.extras import missing_extra
    from flows.outcome import KNOWN, unexpected

    absent = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
    return absent or (error if isinstance(error, KNOWN) else unexpected(error))


def _fail(error: BaseException, path: str | None, as_json: bool) -> int:
    from flows.outcome import error_json, exit_code

    found = error_json(error)
    if as_json:
        _print_json({**({} if path is None else {"path": str(path)}), "error": found})
    else:
        print(f"slidemill: {found['message']}", file=sys.stderr)
    return exit_code(error)


def _print_json(value: Mapping[str, Any]) -> None:
    print(json.dumps(value, ensure_ascii=True), flush=True)


def _print(as_json: bool, value: Mapping[str, Any], lines: Iterable[str]) -> None:
    if as_json:
        _print_json(value)
    else:
        print("\n".join(lines), flush=True)


@app.command()
def inspect(slide: SlidePath, as_json: Json = False) -> int:
    """Driver, files, scenes, levels, channels, metadata, associated images; reads no pixels."""
    from converter.inspection import inspection
    from drivers.discovery import open_slide
    from flows.commands.text import inspection_lines
    from flows.outcome import KNOWN

    try:
        with open_slide(slide) as opened:
            found = inspection(opened)
    except KNOWN as error:
        return _fail(error, slide, as_json)
    _print(as_json, found, inspection_lines(found))
    return 0


@app.command()
def plan(
    slide: SlidePath,
    profile: Profile = None,
    ome_zarr: OmeZarr = None,
    layout: Layout = None,
    scenes: Scenes = None,
    levels: Levels = None,
    native_levels: NativeLevels = None,
    codec: CodecName = None,
    chunk: Chunk = None,
    shard: Shard = None,
    associated: Associated = None,
    privacy: Privacy = None,
    alpha: Alpha = None,
    downsample: Downsample = None,
    workers: Workers = None,
    memory: Memory = None,
    on_damage: OnDamage = None,
    exists: Exists = None,
    resume: Resume = None,
    verify: Verify = None,
    progress: ProgressMode = "auto",
    as_json: Json = False,
) -> int:
    """What convert would write with the same options; writes nothing."""
    options = _options(profile, locals())
    _check_progress(progress)
    from converter.planning.slide import plan_slide
    from drivers.discovery import open_slide
    from flows.commands.text import plan_lines
    from flows.outcome import KNOWN

    try:
        with open_slide(slide) as opened:
            found = plan_slide(opened, options).as_json()
    except KNOWN as error:
        return _fail(error, slide, as_json)
    _print(as_json, found, plan_lines(found))
    return 0


@app.command()
def convert(
    slides: Annotated[list[str], typer.Argument(metavar="SLIDE...", help="The slides' files, or URLs of OME-Zarr.")],
    out: Annotated[str, typer.Option("-o", "--out", help="A store (.zarr) for one slide, else a folder; s3:// too.")],
    profile: Profile = None,
    ome_zarr: OmeZarr = None,
    layout: Layout = None,
    scenes: Scenes = None,
    levels: Levels = None,
    native_levels: NativeLevels = None,
    codec: CodecName = None,
    chunk: Chunk = None,
    shard: Shard = None,
    associated: Associated = None,
    privacy: Privacy = None,
    alpha: Alpha = None,
    downsample: Downsample = None,
    workers: Workers = None,
    memory: Memory = None,
    on_damage: OnDamage = None,
    exists: Exists = None,
    resume: Resume = None,
    verify: Verify = None,
    progress: ProgressMode = "auto",
    submit: Annotated[bool, typer.Option("--submit", help="Queue to the service instead; its settings say where.")] = False,
    config: service_cli.Config = None,
    as_json: Json = False,
) -> int:
    """Convert slides; each output appears only when it is whole and verified."""
    options = _options(profile, locals())
    _check_progress(progress)
    if submit:
        return service_cli.submit(slides, out, (options, config), as_json)
    from drivers.location import location
    from flows.commands.batch import convert_all
    from flows.commands.progress import observers
    from flows.naming import targets
    from flows.outcome import batch_code

    places = [location(slide) for slide in slides]
    work = list(zip(places, targets(places, out), strict=True))
    signal.signal(signal.SIGTERM, _as_interrupt)
    with observers("none" if as_json and not sys.stderr.isatty() else progress) as observe:
        outcomes = convert_all(work, options, observe, lambda outcome: _report(outcome, as_json))
    return batch_code([outcome.code for outcome in outcomes])


def _check_progress(mode: str) -> None:
    if mode not in ("auto", "none"):
        raise typer.BadParameter(f"--progress is auto or none, not {mode!r}")


def _as_interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _report(outcome: Outcome, as_json: bool) -> None:
    from flows.commands.text import receipt_line

    found = outcome.receipt.as_json()
    if as_json:
        _print_json(found)
        return
    failed = found["status"] == "failed"
    print(("slidemill: " if failed else "") + receipt_line(found), file=sys.stderr if failed else sys.stdout, flush=True)
    for warning in found["warnings"]:
        print(f"  note: {warning}", file=sys.stderr)


def _options(profile: str | None, given: Mapping[str, Any]) -> Options:
    """Options from the parameters of a command that were given."""
    from converter.options import Options
    from converter.profiles import bind

    return bind(profile, {key: given[key] for key in Options.model_fields if given.get(key) is not None})


@app.command()
def verify(
    store: Annotated[str, typer.Argument(metavar="STORE", help="An OME-Zarr store: a folder, or its URL.")],
    source: Annotated[str | None, typer.Option(help="The slide it was made from: pixels are compared.")] = None,
    depth: Annotated[str, typer.Option(help="quick or full.")] = "quick",
    as_json: Json = False,
) -> int:
    """Is this store whole, valid and, given the source, true to it."""
    if depth not in ("quick", "full"):
        raise typer.BadParameter(f"--depth is quick or full, not {depth!r}")
    from contextlib import nullcontext

    from converter.checking.verify import verify_store
    from drivers.discovery import open_slide
    from drivers.location import location
    from flows.commands.text import report_lines
    from flows.outcome import KNOWN

    try:
        with nullcontext() if source is None else open_slide(source) as slide:
            found = verify_store(location(store), slide=slide, depth=depth).as_json()
    except KNOWN as error:
        return _fail(error, source, as_json)
    _print(as_json, found, report_lines(found))
    return 0 if found["ok"] else 4


@app.command()
def drivers(as_json: Json = False) -> int:
    """The drivers found, their suffixes, library and version, and any that failed to load with the reason."""
    from flows.commands.listing import driver_lines, driver_list

    found = driver_list()
    _print(as_json, {"drivers": found}, driver_lines(found))
    return 0


@app.command()
def demo(
    folder: Annotated[Path | None, typer.Option(help="Where to work; default: a new temporary folder.")] = None,
    service: Annotated[bool, typer.Option("--service", help="Show the service: a watched folder, three slides.")] = False,
) -> int:
    """Make a slide, convert it, verify it, show where to look."""
    if service:
        from flows.commands.demo_service import run_service_demo

        return run_service_demo(folder)
    from flows.commands.demo import run_demo

    return run_demo(folder)


if __name__ == "__main__":
    main()
