"""Progress on the terminal: per scene, pixels and bytes per second, time left. Nothing where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from converter.convert import Observer, unobserved
from converter.writing.run import Amount
from drivers.location import Location


@contextmanager
def observers(mode: str) -> Generator[Callable[[Location], Observer]]:
    """A maker of observers, one per slide. `mode`: "auto" (only on a terminal) or "none"."""
    from rich.console import Console

    console = Console(stderr=True)
    if mode == "none" or not console.is_terminal:
        yield lambda _slide: unobserved
        return
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:

        def maker(slide: Location) -> Observer:
            tasks: dict[str, TaskID] = {}

            def observe(name: str, amount: Amount) -> None:
                if name not in tasks:
                    tasks[name] = progress.add_task(f"{slide.name} · {name}", total=amount.total, speed="")
                elapsed = progress.tasks[tasks[name]].elapsed or 0.0
                progress.update(tasks[name], completed=amount.done, speed=speed(amount, elapsed))

            return observe

        yield maker


def speed(amount: Amount, seconds: float) -> str:
    """Pixels read and bytes written per second."""
    if seconds <= 0:
        return ""
    return f"{amount.done / seconds / 1e6:.0f} Mpx/s · {amount.bytes_written / seconds / 1e6:.0f} MB/s"
