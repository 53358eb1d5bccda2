"""A report of which leaves were loaded and which were not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from fnopt.pretrained.limits import short, some

_MOST = 8


@dataclasses.dataclass(frozen=True)
class PretrainedReport:
    """Which leaves :func:`load_pretrained` loaded, and from what; prints as a table.

    Attributes:
        loaded: name in the file of each leaf that was loaded, by its path.
        missing: paths of leaves that the file has no tensor for; they are unchanged.
        mismatched: reason why the tensor of a leaf does not fit, by the path of the leaf; these
            leaves are unchanged.
        unused: names in the file that no leaf has.
        new: paths of leaves that ``new=`` left unchanged.
        left_out: names in the file that were left out on purpose.
        notes: change of shape or dtype of each leaf that was loaded, by its path.
        shapes: shape of each leaf, by its path.
        metadata: strings that the file has besides the tensors.
    """

    loaded: Mapping[str, str]
    missing: tuple[str, ...]
    mismatched: Mapping[str, str]
    unused: tuple[str, ...]
    new: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether nothing is missing, mismatched or unused."""
        return not (self.missing or self.mismatched or self.unused)

    def problems(self) -> str:
        """What is missing, mismatched and unused, a line each kind; empty if nothing is."""
        lines = []
        if self.missing:
            lines.append(f"missing in the file: {some(self.missing)}")
        for path, why in list(self.mismatched.items())[:_MOST]:
            lines.append(f"mismatched: {short(path)}: {why}")
        if len(self.mismatched) > _MOST:
            lines.append(f"mismatched: {len(self.mismatched) - _MOST} more")
        if self.unused:
            lines.append(f"unused of the file: {some(self.unused)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        new = set(self.new)
        rows = [("path", "shape", "from", "")]
        for path, shape in self.shapes.items():
            if path in self.loaded:
                source, note = short(self.loaded[path]), self.notes.get(path, "")
            elif path in self.mismatched:
                source, note = "", f"mismatched: {self.mismatched[path]}"
            else:
                source, note = "", "new" if path in new else "missing"
            rows.append((path, str(tuple(shape)), source, note))
        rows += [("", "", short(name), "unused") for name in self.unused]
        rows += [("", "", short(name), "left out") for name in self.left_out]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        counts = {
            "loaded": self.loaded,
            "missing": self.missing,
            "mismatched": self.mismatched,
            "unused": self.unused,
            "new": self.new,
            "left out": self.left_out,
        }
        summary = [f"{len(names)} {what}" for what, names in counts.items() if names]
        return "\n".join([*lines, ", ".join(summary)])
