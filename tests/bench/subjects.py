"""What is measured: our own commands, and the other converters that are here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DEFAULT_CODEC = "blosc-zstd-1"
_WHICH = """
import importlib.metadata, sys
found = {one.name.lower().replace("_", "-"): one.version for one in importlib.metadata.distributions()}
print(next((f"{name} {found[name]}" for name in sys.argv[1:] if name in found), ""))
"""
_PEERS = ("bioformats2raw", "omeify", "eubi", "ngff-zarr")


@dataclass(frozen=True, slots=True)
class Subject:
    """One row of the table.

    `command` may hold {slide}; {out}, the store to write; {folder}, in which {out} lies; {store}, a finished store of ours.
    """

    name: str
    tool: str
    variant: str
    command: tuple[str, ...]
    codec: str | None = DEFAULT_CODEC
    """Of the floor it is held against; None: nothing is converted, so there is no floor."""
    threads: int | None = None
    """Of that floor; None: one per processor."""
    ours: bool = True

    def filled(self, places: Mapping[str, Path]) -> list[str]:
        """The command with its placeholders filled in."""
        return [_filled(part, places) for part in self.command]


def _filled(part: str, places: Mapping[str, Path]) -> str:
    for key, path in places.items():
        part = part.replace(f"{{{key}}}", str(path))
    return part


def slidemill() -> list[str]:
    """The command beside the running interpreter, which is what a user starts."""
    script = Path(sys.executable).parent / "slidemill"
    return [str(script)] if script.is_file() else [sys.executable, "-m", "flows.cli"]


def _conversion(name: str, variant: str, *options: str, codec: str = DEFAULT_CODEC, threads: int | None = None) -> Subject:
    command = (*slidemill(), "convert", "{slide}", "-o", "{out}", "--json", *options)
    return Subject(name, "slidemill", variant, command, codec, threads)


def our_conversions(codecs: Sequence[str]) -> list[Subject]:
    """The default first, then one row per further codec, then the other ways to convert."""
    first, *further = codecs
    return [
        _conversion("default", f"0.5, {first}", "--codec", first, codec=first),
        *(_conversion(codec, f"0.5, {codec}", "--codec", codec, codec=codec) for codec in further),
        _conversion("native", "--levels native", "--levels", "native", "--codec", first, codec=first),
        _conversion("never", "--native-levels never", "--native-levels", "never", "--codec", first, codec=first),
        _conversion("0.4", "--ome-zarr 0.4", "--ome-zarr", "0.4", "--codec", first, codec=first),
    ]


def scaled(codec: str, threads: Sequence[int]) -> list[Subject]:
    """The default conversion with so many workers each."""
    return [
        _conversion(f"workers-{n}", f"--workers {n}", "--workers", str(n), "--codec", codec, codec=codec, threads=n)
        for n in threads
    ]


def our_readings() -> list[Subject]:
    """Commands that write nothing."""
    ours = slidemill()
    verify = (*ours, "verify", "{store}", "--depth", "full", "--json")
    return [
        Subject("inspect", "slidemill", "inspect", (*ours, "inspect", "{slide}", "--json"), None),
        Subject("plan", "slidemill", "plan", (*ours, "plan", "{slide}", "--json"), None),
        Subject("verify", "slidemill", "verify --depth full", verify, None),
        Subject("verify-source", "slidemill", "verify --depth full --source", (*verify, "--source", "{slide}"), None),
    ]


def variable(peer: str) -> str:
    """The environment variable that may name a peer's executable."""
    return "SLIDEMILL_BENCH_" + peer.upper().replace("-", "_")


def peers(environment: Mapping[str, str]) -> tuple[list[Subject], dict[str, str]]:
    """Rows of the peers that are here, with their own defaults; and why others are not: name to reason."""
    found: list[Subject] = []
    absent: dict[str, str] = {}
    for peer in _PEERS:
        named = environment.get(variable(peer))
        program = shutil.which(named or peer)
        if program is None:
            absent[peer] = f"{variable(peer)} names no executable" if named else f"neither on PATH nor in {variable(peer)}"
        else:
            found += _rows(peer, program)
    return found, absent


def _rows(peer: str, program: str) -> list[Subject]:
    tool = _named(peer, program)

    def row(name: str, variant: str, *arguments: str) -> Subject:
        return Subject(name, tool, variant, (program, *arguments), ours=False)

    if peer == "bioformats2raw":
        # Without a folder of its own, its cache lies beside the slide, where a second run would find it.
        plain = ("{slide}", "{out}", "--memo-directory", "{folder}")
        native = row(f"{peer}-native", "native levels", *plain, "--use-existing-resolutions")
        return [row(peer, "defaults", *plain), native]
    if peer == "omeify":
        kind = ("--type", "svs", "--output-format", "ome_zarr")
        return [row(peer, "defaults", "convert", *kind, "-o", "{out}", "{slide}")]
    if peer == "eubi":
        return [row(peer, "defaults", "to_zarr", "{slide}", "--output_path={folder}")]
    return [row(peer, "defaults", "-q", "-i", "{slide}", "-o", "{out}")]


def _named(peer: str, program: str) -> str:
    """Name and version of a peer, the name alone when it does not tell."""
    if peer == "bioformats2raw":
        return f"{peer} {_said([program, '--version']).partition('=')[2].strip()}".strip()
    with Path(program).open("rb") as script:
        first = script.readline(4096)
    if not first.startswith(b"#!"):
        return peer
    # A Python script names its interpreter, which knows the packages installed beside it.
    packages = ("eubi-bridge", "eubi-bridge-lite") if peer == "eubi" else (peer,)
    return _said([*first[2:].decode().split(), "-c", _WHICH, *packages]) or peer


def _said(command: Sequence[str]) -> str:
    """First line that a short command prints, empty when it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.strip().splitlines() or [""])[0]
