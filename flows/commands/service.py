"""Commands of the service. Each imports what it needs when it runs: `slidemill --help` knows nothing of Prefect or SQL."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from converter.options import Options
    from flows.commands.batch import Job
    from flows.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, errors included.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file; default: SLIDEMILL_CONFIG, or slidemill.toml here.")
]
Slide = Annotated[str, typer.Argument(metavar="ID", help="The slide's id in `list`, or its first characters.")]
OfFolder = Annotated[str | None, typer.Option("--folder", help="Of those, the ones of this folder.")]
OfKind = Annotated[str | None, typer.Option("--kind", help="Of those, the ones that failed so: `damaged`, ...")]
quarantine = typer.Typer(help="Slides that are not tried again unless you say so.", no_args_is_help=True)
config = typer.Typer(help="Settings of the service.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Add the commands of the service."""
    from flows.commands import accounting, auditing, backing_up, pausing

    for command in (up, watch, status, retry, cancel, metrics):
        app.command()(command)
    pausing.add_to(app)
    auditing.add_to(app)
    accounting.add_to(app)
    backing_up.add_to(app)
    app.command("list")(list_slides)
    app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(worker)
    app.add_typer(quarantine, name="quarantine")
    app.add_typer(config, name="config")


def show(as_json: bool, value: Any, lines: Iterable[str]) -> None:
    """Print what was found."""
    from flows.commands.text import shown

    text = json.dumps(value, ensure_ascii=True) if as_json else "\n".join(map(shown, lines))
    print(text, flush=True)


def _settings(path: Path | None) -> Settings:
    from flows.settings import load_settings

    return load_settings(path)


@contextmanager
def opened(path: Path | None, *, looks: bool = False) -> Generator[tuple[Settings, Engine]]:
    """The settings and their ledger. Whoever only `looks` makes none: where there is none, it sees an empty one.

    Nobody here migrates one.
    """
    from flows.ledger.database import connect, is_there, sqlite_file
    from flows.ledger.faults import told
    from flows.ledger.migrate import migrate, require_current

    settings = _settings(path)
    file = sqlite_file(settings.ledger_url)
    new = file is not None and not is_there(file)
    engine = connect("sqlite://" if new and looks else settings.ledger_url)
    try:
        with told(settings.ledger_url):
            if new:
                migrate(engine)
            else:
                require_current(engine)
            yield settings, engine
    finally:
        engine.dispose()


def up(
    path: Config = None,
    until_empty: Annotated[
        bool,
        typer.Option("--until-empty", help="End once all slides that are there have come to their end; 1 if one failed."),
    ] = False,
) -> int:
    """Watch the folders of the settings: server, workers and schedules on this machine, until Ctrl-C."""
    from flows.settings import find_config

    return _serve(_settings(path), find_config(path), until_empty=until_empty)


def watch(
    folders: Annotated[list[str], typer.Argument(metavar="IN...", help="Folders to watch.")],
    out: Annotated[str, typer.Option("--output", "-o", help="Folder for the stores, or s3://bucket/prefix.")],
    state: Annotated[Path | None, typer.Option(help="For ledger and logs; default: ~/.local/state/slidemill.")] = None,
    quiet: Annotated[float, typer.Option(min=0.1, help="Seconds that a slide must stay as it is before it is taken.")] = 60.0,
    profile: Annotated[str | None, typer.Option(help="A named profile of options, or a TOML file.")] = None,
) -> int:
    """Watch folders without a settings file: what `up` does, with defaults."""
    from flows.commands.quickstart import folders_of, quick_settings

    made = quick_settings(folders_of(folders), out, state, quiet, profile)
    return _serve(made.settings, made.path, made.write)


def submit(work: Sequence[Job], how: tuple[Options, Path | None], as_json: bool) -> list[int]:
    """`convert --submit`: queue slides, before what folders bring. Prints an object a slide; an exit code a slide."""
    from flows.commands.printing import put
    from flows.commands.text import failure_line
    from flows.outcome import KNOWN, error_json, exit_code
    from flows.service import orders

    options, path = how
    codes = [0] * len(work)
    with opened(path) as (_, engine):
        for i, job in enumerate(work):
            try:
                if job.fault is not None:
                    raise job.fault
                identity = orders.submit(engine, job.slide, str(job.target), options)
                value: dict[str, Any] = {
                    "path": str(job.slide), "output": str(job.target), "status": "queued", "id": identity
                }  # fmt: skip
                show(as_json, value, [f"{job.slide}: queued as {identity}"])
            except KNOWN as error:
                codes[i] = exit_code(error)
                value = {"path": str(job.slide), "status": "failed", "error": error_json(error)}
                if as_json:
                    show(as_json, value, [])
                else:
                    put(failure_line(job.slide, value["error"]["message"]), sys.stderr)
    return codes


def _serve(
    settings: Settings,
    config_file: Path | None,
    begin: Callable[[], None] = lambda: None,
    *,
    until_empty: bool = False,
) -> int:
    from converter.errors import OptionError
    from flows.commands.quickstart import findings, unusable
    from flows.commands.text import shown
    from flows.engine.up import Service

    def say(text: str) -> None:
        print(f"slidemill: {shown(text)}", file=sys.stderr, flush=True)

    found = findings(settings)
    fatal = unusable(settings) or (found if not settings.folders else [])
    if fatal:
        raise OptionError(fatal[0])
    for finding in found:
        say(f"{finding}; it is looked for again and again")
    service = Service(settings, config_file, say, begin, tells=sys.stderr.isatty(), until_empty=until_empty)

    def stop(_signal: int, _frame: object) -> None:
        # On a thread: this one may be at the event's lock, and would wait for itself.
        threading.Thread(target=service.stop.set).start()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)
    return service.run()


def status(
    path: Config = None,
    as_json: Json = False,
    check: Annotated[
        bool, typer.Option("--check", help="For cron and monitoring: say what is wrong and end with 1, else with 0.")
    ] = False,
    free: Annotated[float, typer.Option(min=0, help="With --check: GB that outputs and state must have free.")] = 5.0,
) -> int:
    """Health, what runs (with progress), waits, is done, failed, in quarantine; rate, room, and when the queue is empty."""
    from flows.commands.status_text import status_lines
    from flows.reports.health import faults
    from flows.reports.status import status as found

    with opened(path, looks=True) as (settings, engine):
        value = found(engine, settings)
        wrong = [*faults(engine, value, int(free * 1e9)), *_prefect_faults(settings)] if check else []
    if check:
        show(as_json, value | {"ok": not wrong, "faults": wrong}, wrong or ["all is well"])
        return 1 if wrong else 0
    show(as_json, value, status_lines(value))
    return 0


def _prefect_faults(settings: Settings) -> list[str]:
    from flows.engine.prefect_database import require_usable
    from flows.service.dispatch import EngineUnavailable

    try:
        if settings.prefect_api is None:
            require_usable(settings.state)
    except EngineUnavailable as error:
        return [str(error)]
    return []


def list_slides(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Part of a path, or the first characters of an id.")] = "",
    states: Annotated[
        list[str] | None,
        typer.Option("--state", help="Only slides in this state; may be repeated. unknown: files, no slides."),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="How many at most.")] = 50,
    path: Config = None,
    as_json: Json = False,
) -> int:
    """Slides with their ids and what became of each, the latest first."""
    from converter.errors import OptionError
    from flows.commands.status_text import list_lines, unknown_lines
    from flows.ledger.tables import State
    from flows.reports.status import listed, unknown

    asked = list(states or ())
    files = asked == ["unknown"]
    wrong = [] if files else sorted(set(asked) - set(State))
    if wrong:
        raise OptionError(f"--state {wrong[0]}: choose from {', '.join(State)}; or unknown, alone")
    with opened(path, looks=True) as (_, engine):
        value = unknown(engine, text, most) if files else listed(engine, text, [State(state) for state in asked], most)
    lines = unknown_lines(value) if files else list_lines(value)
    show(as_json, {"slides": value}, lines if value else ["no slides" if not files else "no such files"])
    return 0


def retry(
    slide: Annotated[str | None, typer.Argument(metavar="ID", help="A slide, or none with --all.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All failed and quarantined slides.")] = False,
    folder: OfFolder = None,
    kind: OfKind = None,
    path: Config = None,
    as_json: Json = False,
) -> int:
    """Queue a slide again that failed, was cancelled or dismissed, or is in quarantine."""
    from converter.errors import OptionError
    from flows.service import orders

    several = everything or folder is not None or kind is not None
    if several == (slide is not None):
        raise OptionError("retry: give one ID, or --all, --folder, --kind")
    with opened(path, looks=True) as (settings, engine):
        ids = orders.retry_all(engine, folder, kind) if slide is None else [orders.retry_one(engine, settings, slide)]
    show(as_json, {"queued": ids}, [f"{len(ids)} queued again"])
    return 0


def cancel(slide: Slide, path: Config = None, as_json: Json = False) -> int:
    """Cancel a slide that is queued or under way; nothing of it is published."""
    from converter.errors import OptionError
    from flows.service import orders

    with opened(path, looks=True) as (_, engine):
        row = orders.one(engine, slide)
        state = orders.cancel(engine, row)
    if state is None:
        raise OptionError(f"slide {row.id} is {row.state}; there is nothing to cancel")
    asked = state == "running"
    words = "asked to stop" if asked else "cancelled"
    show(as_json, {"id": row.id, "status": "cancelling" if asked else "cancelled"}, [f"{row.id}: {words}"])
    return 0


def metrics(
    path: Config = None,
    port: Annotated[int | None, typer.Option(help="Default: metrics_port of the settings.")] = None,
    address: Annotated[str, typer.Option(help="Address to listen on; there is no password.")] = "127.0.0.1",
) -> int:
    """Serve Prometheus metrics from the ledger until Ctrl-C; `up` does so itself where metrics_port is set."""
    from converter.errors import OptionError
    from flows.reports.metrics import serve_metrics

    chosen = port or _settings(path).metrics_port
    if chosen is None:
        raise OptionError("metrics: give --port, or metrics_port in the settings")
    with opened(path) as (settings, engine):
        stop = serve_metrics(engine, chosen, address, [folder.name for folder in settings.folders])
        print(f"slidemill: metrics at http://{address}:{chosen}/metrics", file=sys.stderr, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
        stop()
    return 0


def worker(context: typer.Context) -> int:
    """A worker of one machine: takes the arguments of `prefect worker start`; told to stop, it gives its slides back."""
    from flows.engine.worker import run_worker

    return run_worker(context.args)


@quarantine.command("list")
def quarantine_list(path: Config = None, as_json: Json = False) -> int:
    """Slides in quarantine, each with its reason."""
    from flows.ledger.rows import slides_in
    from flows.ledger.tables import State

    with opened(path, looks=True) as (_, engine), engine.connect() as connection:
        rows = slides_in(connection, (State.QUARANTINED,))
    keys = ("id", "folder", "path", "kind", "reason", "attempt")
    value = [{key: getattr(row, key) for key in keys} for row in rows]
    lines = [f"{row.id}  {row.folder}/{row.path}  {row.kind}: {row.reason}" for row in rows]
    show(as_json, {"quarantined": value}, lines or ["nothing is in quarantine"])
    return 0


@config.command("check")
def config_check(path: Config = None, as_json: Json = False) -> int:
    """Read the settings; say all that is wrong with them, and each folder's rules, options, rights and room."""
    from flows.commands.check_text import check_lines, details
    from flows.commands.quickstart import findings, idle_shares
    from flows.commands.text import counted
    from flows.settings import faults

    wrong = faults(path)
    if wrong:
        show(as_json, {"ok": False, "folders": [], "findings": wrong, "details": []}, wrong)
        return 2
    settings = _settings(path)
    found, told = [*findings(settings), *idle_shares(settings)], details(settings)
    value = {"ok": not found, "folders": [folder.name for folder in settings.folders], "findings": found, "details": told}
    show(as_json, value, [*check_lines(told), *(found or [f"{counted(len(settings.folders), 'folder')}; all is well"])])
    return 2 if found else 0


@config.command("migrate")
def config_migrate(path: Config = None, as_json: Json = False) -> int:
    """Bring the ledger to this version; `up` does so by itself."""
    from flows.ledger.database import connect
    from flows.ledger.faults import told
    from flows.ledger.migrate import migrate

    url = _settings(path).ledger_url
    engine = connect(url)
    try:
        with told(url):
            migrate(engine)
    finally:
        engine.dispose()
    show(as_json, {"ok": True}, ["the ledger is up to date"])
    return 0


@config.command("deploy")
def config_deploy(path: Config = None, as_json: Json = False) -> int:
    """Make work pools, queues and deployments on the Prefect server of PREFECT_API_URL or of the settings."""
    import os

    from flows.engine.names import EVERYWHERE

    settings = _settings(path)
    if settings.prefect_api is not None:
        os.environ.setdefault("PREFECT_API_URL", settings.prefect_api)
    os.environ.update(EVERYWHERE)
    from flows.engine.deploy import deploy
    from flows.engine.named import require_server

    require_server("config deploy")
    deploy(settings)
    show(as_json, {"ok": True}, ["deployed"])
    return 0
