"""The parameters that commands share, as typer reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer


def among(*words: str) -> Callable[[str], list[str]]:
    """What completion offers for the value of an option."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


Json = Annotated[bool, typer.Option("--json", help="One JSON object (a line) on standard output, errors included.")]
# Whether a slide can be read is for drivers to say, in their words and with their exit code: hence plain text.
Slides = Annotated[
    list[str],
    typer.Argument(metavar="SLIDE...", help="Files, folders (every slide below them), or URLs of OME-Zarr stores."),
]
Stores = Annotated[
    list[str], typer.Argument(metavar="STORE...", help="OME-Zarr stores, folders (every store below them), or URLs.")
]
Pattern = Annotated[
    list[str] | None, typer.Option(help="Of folders only files whose name this glob matches; may be repeated.")
]
Exclude = Annotated[
    list[str] | None, typer.Option(help="Of folders nothing whose name or path below it this glob matches; may be repeated.")
]
FollowLinks = Annotated[bool, typer.Option("--follow-links", help="In folders follow links; by default they are left.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also files that are no slides, and what libraries say.")]
Profile = Annotated[
    str | None,
    typer.Option(
        autocompletion=among("default", "qupath", "omero", "fast", "small", "strict"),
        help="default, qupath, omero, fast, small or strict (`slidemill profiles`), or a TOML file with options.",
    ),
]
OmeZarr = Annotated[
    str | None,
    typer.Option(
        "--ome-zarr", autocompletion=among("0.5", "0.4"), help="0.5 (default), or 0.4 for QuPath, Bio-Formats, OMERO."
    ),
]
Layout = Annotated[
    str | None, typer.Option(autocompletion=among("auto", "image", "bioformats2raw"), help="auto, image or bioformats2raw.")
]
Scenes = Annotated[str | None, typer.Option(help="Indices, ranges (0-4) or names, comma separated, or all.")]
Levels = Annotated[
    str | None,
    typer.Option(
        autocompletion=among("dyadic", "native"), help="dyadic: fill missing factor-2 levels; native: only the slide's own."
    ),
]
NativeLevels = Annotated[
    str | None,
    typer.Option(
        autocompletion=among("auto", "never", "always"),
        help="Reuse the slide's levels: auto (when they agree), never, always.",
    ),
]
CodecName = Annotated[str | None, typer.Option("--codec", help="blosc-zstd-1, blosc-lz4-5, zstd-3, gzip-5, none, ...")]
Chunk = Annotated[int | None, typer.Option(help="Chunk side, a power of two.")]
Shard = Annotated[str | None, typer.Option(help="Shard side, a power of two, or none.")]
Associated = Annotated[str | None, typer.Option(help="Roles: thumbnail (default), macro, label; or none.")]
Privacy = Annotated[
    str | None,
    typer.Option(
        autocompletion=among("standard", "strict", "keep"), help="standard, strict (no dates, serials, label images) or keep."
    ),
]
Alpha = Annotated[
    str | None,
    typer.Option(
        autocompletion=among("drop", "keep"), help="drop (default: the one alpha of an 8-bit colour image) or keep."
    ),
]
Downsample = Annotated[
    str | None, typer.Option(autocompletion=among("mean", "mode", "nearest"), help="mean, mode (label images) or nearest.")
]
Workers = Annotated[int | None, typer.Option(help="Threads, shared by slides that are small; default: one per processor.")]
Memory = Annotated[str | None, typer.Option(help="Refuse to start above this, e.g. 1GiB; slides then go one at a time.")]
OnDamage = Annotated[
    str | None,
    typer.Option(autocompletion=among("fail", "fill"), help="fail (default), or fill unreadable tiles and say so."),
]
Exists = Annotated[
    str | None,
    typer.Option(
        autocompletion=among("fail", "skip", "replace"), help="fail (default), skip when it is the same conversion, replace."
    ),
]
Resume = Annotated[
    bool | None, typer.Option("--resume/--no-resume", help="Take outputs of an identical earlier run as done.")
]
Verify = Annotated[
    str | None,
    typer.Option(autocompletion=among("none", "quick", "full"), help="Check before publishing: none, quick (default), full."),
]
ProgressMode = Annotated[
    str, typer.Option("--progress", autocompletion=among("auto", "none"), help="auto (on a terminal) or none.")
]
Out = Annotated[
    str,
    typer.Option(
        "-o", "--out", help="A store (.zarr) for one slide, else a folder, with the folders of the input; s3:// too."
    ),
]
Submit = Annotated[bool, typer.Option("--submit", help="Queue to the service instead; its settings say where.")]
Source = Annotated[
    str | None,
    typer.Option(help="The slide it was made from, or for a folder of stores that of the slides: pixels are compared."),
]
Depth = Annotated[str, typer.Option(autocompletion=among("quick", "full"), help="quick or full.")]
