"""The command line. Commands import what they need when they run, so that `--help` and `inspect` start fast."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands import options
from flows.commands import service as service_cli

if TYPE_CHECKING:
    from converter.options import Options
    from flows.commands.printing import Manner
    from flows.commands.walking import Choice

app = typer.Typer(
    name="slidemill",
    help="Microscopy and whole-slide images to OME-Zarr: right, complete, fast, published only when whole.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

SLIDES = "Slides"


def main() -> None:
    """Entry point: runs a command and exits with its code; usage errors are JSON too where JSON was asked for."""
    _in_utf8()
    # Importing makes many objects that live as long as the process; looking for garbage among them took 0.15 s of a start.
    gc.set_threshold(100_000, 50, 100)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy would start threads that nothing here uses
    code = run(sys.argv[1:])
    gc.freeze()  # nor is there anything to be found among them at the end
    if "obstore" in sys.modules:
        _leave(code)
    sys.exit(code)


def _in_utf8() -> None:
    """Begin again where the locale has another encoding: names of files are UTF-8, whatever the terminal shows."""
    if sys.getfilesystemencoding() == "utf-8" or "PYTHONUTF8" in os.environ:
        return
    shown = {"PYTHONIOENCODING": f"{sys.stdout.encoding}:backslashreplace"} | os.environ
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], shown | {"PYTHONUTF8": "1"})


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
    for chatty in ("tifffile", "rasterio"):  # they log per tag; drivers say what matters
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    try:
        return int(app(args=arguments, prog_name="slidemill", standalone_mode=False) or 0)
    except usage.NoArgsIsHelpError as error:
        error.show()
        return 0
    except usage.ClickException as error:
        from converter.wording import reworded

        error.message = reworded(error.message)
        if "--json" in arguments:
            message = " ".join(error.format_message().split())
            print(json.dumps({"error": {"kind": "usage", "message": message, "retryable": False}}), flush=True)
        else:
            error.show(sys.stderr)
        return 2
    except (KeyboardInterrupt, typer.Abort):
        from flows.outcome import interrupted

        return _fail(interrupted(), "--json" in arguments)
    except BrokenPipeError:
        return 1
    except Exception as error:  # noqa: BLE001 - the boundary: one line, and the class where nobody foresaw it
        return _fail(_known(error), "--json" in arguments)


def _known(error: Exception) -> Exception:
    from flows.extras import missing_extra
    from flows.outcome import KNOWN, unexpected

    absent = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
    return absent or (error if isinstance(error, KNOWN) else unexpected(error))


def _fail(error: BaseException, as_json: bool) -> int:
    from flows.commands.printing import fail

    return fail(error, None, as_json)


def _version(asked: bool) -> None:
    if asked:
        from converter.version import product_version

        print(f"slidemill {product_version()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")] = False,
) -> None:
    """Microscopy and whole-slide images to OME-Zarr: right, complete, fast, published only when whole."""


@app.command(rich_help_panel=SLIDES)
def inspect(
    slides: options.Slides,
    pattern: options.Pattern = None,
    exclude: options.Exclude = None,
    follow_links: options.FollowLinks = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> int:
    """Driver, files, scenes, levels, channels, metadata, associated images; reads no pixels."""
    from flows.commands.looking import inspect_command
    from flows.commands.printing import told

    choice, manner = _choice(pattern, exclude, follow_links), _manner(as_json, quiet, verbose)
    return told(lambda: inspect_command(slides, choice, manner), as_json)


@app.command(rich_help_panel=SLIDES)
def plan(
    slides: options.Slides,
    profile: options.Profile = None,
    ome_zarr: options.OmeZarr = None,
    layout: options.Layout = None,
    scenes: options.Scenes = None,
    levels: options.Levels = None,
    native_levels: options.NativeLevels = None,
    codec: options.CodecName = None,
    chunk: options.Chunk = None,
    shard: options.Shard = None,
    associated: options.Associated = None,
    privacy: options.Privacy = None,
    alpha: options.Alpha = None,
    downsample: options.Downsample = None,
    workers: options.Workers = None,
    memory: options.Memory = None,
    on_damage: options.OnDamage = None,
    exists: options.Exists = None,
    resume: options.Resume = None,
    verify: options.Verify = None,
    progress: options.ProgressMode = "auto",
    pattern: options.Pattern = None,
    exclude: options.Exclude = None,
    follow_links: options.FollowLinks = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> int:
    """What convert would write with the same options; writes nothing."""
    bound = _options(profile, locals())
    _check_progress(progress)
    from flows.commands.looking import plan_command
    from flows.commands.printing import told

    choice, manner = _choice(pattern, exclude, follow_links), _manner(as_json, quiet, verbose)
    return told(lambda: plan_command(slides, choice, bound, manner), as_json)


@app.command(rich_help_panel=SLIDES)
def convert(
    slides: options.Slides,
    out: options.Out,
    profile: options.Profile = None,
    ome_zarr: options.OmeZarr = None,
    layout: options.Layout = None,
    scenes: options.Scenes = None,
    levels: options.Levels = None,
    native_levels: options.NativeLevels = None,
    codec: options.CodecName = None,
    chunk: options.Chunk = None,
    shard: options.Shard = None,
    associated: options.Associated = None,
    privacy: options.Privacy = None,
    alpha: options.Alpha = None,
    downsample: options.Downsample = None,
    workers: options.Workers = None,
    memory: options.Memory = None,
    on_damage: options.OnDamage = None,
    exists: options.Exists = None,
    resume: options.Resume = None,
    verify: options.Verify = None,
    progress: options.ProgressMode = "auto",
    pattern: options.Pattern = None,
    exclude: options.Exclude = None,
    follow_links: options.FollowLinks = False,
    submit: options.Submit = False,
    config: service_cli.Config = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> int:
    """Convert slides; each output appears only when it is whole and verified."""
    bound = _options(profile, locals())
    _check_progress(progress)
    from flows.commands.converting import Call, convert_command, submit_command
    from flows.commands.printing import told

    choice, manner = _choice(pattern, exclude, follow_links), _manner(as_json, quiet, verbose)
    call = Call(bound, choice, manner, progress)
    if submit:
        return told(lambda: submit_command(slides, out, call, config), as_json)
    return told(lambda: convert_command(slides, out, call), as_json)


def _check_progress(mode: str) -> None:
    if mode not in ("auto", "none"):
        raise typer.BadParameter(f"--progress is auto or none, not {mode!r}")


def _choice(pattern: Sequence[str] | None, exclude: Sequence[str] | None, links: bool) -> Choice:
    from flows.commands.walking import Choice

    return Choice(tuple(pattern or ("*",)), tuple(exclude or ()), links)


def _manner(as_json: bool, quiet: bool, verbose: bool) -> Manner:
    from flows.commands.printing import Manner

    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose: choose one")
    manner = Manner(as_json, quiet, verbose)
    manner.begin()
    return manner


def _options(profile: str | None, given: Mapping[str, Any]) -> Options:
    """Options from the parameters of a command that were given."""
    from converter.options import Options
    from converter.profiles import bind

    return bind(profile, {key: given[key] for key in Options.model_fields if given.get(key) is not None})


@app.command(rich_help_panel=SLIDES)
def verify(
    stores: options.Stores,
    source: options.Source = None,
    depth: options.Depth = "quick",
    pattern: options.Pattern = None,
    exclude: options.Exclude = None,
    follow_links: options.FollowLinks = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> int:
    """Is this store whole, valid and, given the source, true to it."""
    if depth not in ("quick", "full"):
        raise typer.BadParameter(f"--depth is quick or full, not {depth!r}")
    from flows.commands.looking import verify_command
    from flows.commands.printing import told

    choice, manner = _choice(pattern, exclude, follow_links), _manner(as_json, quiet, verbose)
    return told(lambda: verify_command(stores, (source, depth), choice, manner), as_json)


@app.command(rich_help_panel=SLIDES)
def drivers(as_json: options.Json = False) -> int:
    """The drivers found, their suffixes, library and version, and any that failed to load with the reason."""
    from flows.commands.listing import driver_lines, driver_list
    from flows.commands.printing import print_found

    found = driver_list()
    print_found(as_json, {"drivers": found}, driver_lines(found))
    return 0


@app.command(rich_help_panel=SLIDES)
def profiles(as_json: options.Json = False) -> int:
    """The named profiles for --profile: what each is for, and the options it sets."""
    from flows.commands.listing import profile_lines, profile_list
    from flows.commands.printing import print_found

    found = profile_list()
    print_found(as_json, {"profiles": found}, profile_lines(found))
    return 0


@app.command(rich_help_panel=SLIDES)
def demo(
    folder: Annotated[Path | None, typer.Option(help="Where to work; default: a new temporary folder.")] = None,
    service: Annotated[bool, typer.Option("--service", help="Show the service: a watched folder, three slides.")] = False,
    as_json: options.Json = False,
) -> int:
    """Make a slide, convert it, verify it, show where to look."""
    from flows.commands.printing import told

    if service:
        from flows.commands.demo_service import run_service_demo

        return told(lambda: run_service_demo(folder, as_json), as_json)
    from flows.commands.demo import run_demo

    return told(lambda: run_demo(folder, as_json), as_json)


service_cli.add_to(app)
for _entry in (*app.registered_commands, *app.registered_groups):  # help shows them in this order
    if _entry.rich_help_panel != SLIDES:
        _entry.rich_help_panel = "The service"


if __name__ == "__main__":
    main()
