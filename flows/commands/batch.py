"""Converting slides one after the other: each gets a receipt, and one that fails does not stop the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from converter.convert import Conversion, Observer, convert
from converter.options import Options
from converter.receipt import Failure, Receipt
from converter.version import product_version
from drivers.location import Location
from flows.outcome import KNOWN, error_json, exit_code, interrupted, unexpected


@dataclass(frozen=True, slots=True)
class Outcome:
    """A receipt and the exit code it means."""

    receipt: Receipt
    code: int


def convert_all(
    work: Sequence[tuple[Location, Location]],
    options: Options,
    observe: Callable[[Location], Observer],
    report: Callable[[Outcome], None],
) -> list[Outcome]:
    """Convert (slide, target) pairs in order; `report` gets each outcome at once. An interrupt ends the batch."""
    outcomes: list[Outcome] = []
    for slide, target in work:
        outcome = _one(slide, target, Conversion(options, threading.Event(), observe(slide)))
        outcomes.append(outcome)
        report(outcome)
        if outcome.receipt.failure is not None and outcome.receipt.failure.kind == "interrupted":
            break
    return outcomes


def _one(slide: Location, target: Location, conversion: Conversion) -> Outcome:
    start = time.perf_counter()
    try:
        return Outcome(convert(slide, target, conversion), 0)
    except KeyboardInterrupt:
        error: BaseException = interrupted()
    except KNOWN as known:
        error = known
    except Exception as unknown:  # noqa: BLE001 - whatever went wrong with one slide, the next one is converted
        error = unexpected(unknown)
    failure = Failure(**error_json(error))
    receipt = Receipt(
        path=str(slide),
        output=None,
        status="failed",
        seconds=time.perf_counter() - start,
        version=product_version(),
        options=conversion.options,
        failure=failure,
    )
    return Outcome(receipt, exit_code(error))
