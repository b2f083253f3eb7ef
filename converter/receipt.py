"""The receipt: what one conversion wrote, from what, and what went wrong. Goes into the store, the ledger and the report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from converter.options import Options
from converter.planning.image import ImagePlan, in_axes
from drivers.words import counted, shortened

KEY = "slidemill"
SEAL = "sealed"
"""Key of the hash over the root's metadata, this receipt included: the manifest cannot name it, as it names the manifest."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a slide was not converted."""

    kind: str
    message: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class Receipt:
    """One slide's outcome. `status`: done, skipped, failed."""

    path: str
    output: str | None
    status: str
    seconds: float
    version: str
    options: Options
    fingerprint: str | None = None
    manifest: str | None = None
    images: Sequence[ImagePlan] = ()
    bytes: int = 0
    objects: int = 0
    warnings: Sequence[str] = ()
    damage: Sequence[str] = ()
    removed: Sequence[str] = ()
    peak_memory_bytes: int | None = None
    timings: Mapping[str, float] = field(default_factory=dict[str, float])
    icc: Mapping[str, Any] | None = None
    failure: Failure | None = None

    def __repr__(self) -> str:
        facts = [counted(len(self.images), "image"), f"{self.bytes} bytes", counted(self.objects, "object")]
        facts += [counted(len(self.warnings), "warning")] if self.warnings else []
        return f"<Receipt {self.status}: {shortened(self.path)} to {shortened(self.output or 'nothing')}, {', '.join(facts)}>"

    def as_json(self) -> dict[str, Any]:
        """The shape of CLI.md."""
        found: dict[str, Any] = {
            "path": self.path,
            "output": self.output,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "fingerprint": self.fingerprint,
            "manifest": self.manifest,
            "scenes": [_image_json(image) for image in self.images if image.index is not None],
            "associated": [_image_json(image) for image in self.images if image.index is None],
            "bytes": self.bytes,
            "objects": self.objects,
            "warnings": list(self.warnings),
            "damage": list(self.damage),
            "removed": list(self.removed),
            "peak_memory_bytes": self.peak_memory_bytes,
            "timings_s": {key: round(value, 3) for key, value in self.timings.items()},
            "version": self.version,
            "options": self.options.for_record(),
        }
        if self.icc:
            found["icc_profile"] = dict(self.icc)
        if self.failure is not None:
            found["error"] = {
                "kind": self.failure.kind,
                "message": self.failure.message,
                "retryable": self.failure.retryable,
            }
        return found


def _image_json(image: ImagePlan) -> dict[str, Any]:
    found: dict[str, Any] = {"index": image.index} if image.index is not None else {"role": image.name}
    found["group"] = image.group
    found["levels"] = [
        {"path": level.path, "source": str(level.source), "shape": in_axes(level.shape, image.axes)} for level in image.levels
    ]
    found["refused_native"] = [{"level": r.level, "reason": r.reason} for r in image.refused]
    return found


def seal(root: Mapping[str, Any]) -> str:
    """The hash over a root's metadata as JSON, whatever seal it holds."""
    whole = json.loads(json.dumps(root))
    whole.get("attributes", whole)[KEY].pop(SEAL, None)
    return f"sha256:{hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()}"
