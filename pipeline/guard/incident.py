"""What the guard writes down about a step that it did not take as it came."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

_NUM_BEFORE = 8


@dataclass(frozen=True)
class BadRow:
    """A row of a batch and where it was first seen to be bad.

    Args:
        position: Its place in the batch as it was fed, from 0.
        row_id: Its id, or None if the features carried none.
        seen: "input" (as it is, or cast to the float16 in which the model takes it), "label",
            "weight", "loss" (prediction or loss) or "gradient". Under kind "explosion", loss and
            gradient may be finite and far outside those of the batch's other rows.
        columns: The names of its non-finite cells, at most 8; of tensors with the place of the
            first one, such as "image[3, 4, 0]".
        file: The raw file that it came from; "" where the guard was given no dataset.
        row: The line of that file on which it starts, or its row number where there are no lines.
    """

    position: int
    row_id: int | str | None
    seen: str
    columns: tuple[str, ...] = ()
    file: str = ""
    row: int | None = None

    def __str__(self) -> str:
        """Name the row as precisely as it is known.

        >>> str(BadRow(position=1, row_id=7, seen="input", columns=("size",)))
        'row 7 (size)'
        """
        named = self.position if self.row_id is None else self.row_id
        place = f"{self.file}:{self.row}" if self.file and self.row is not None else f"row {named}"
        if self.file and self.row is None:
            place = f"{self.file} {place}"
        return f"{place} ({', '.join(self.columns)})" if self.columns else place


@dataclass(frozen=True)
class Incident:
    """One bad step.

    Args:
        step: Steps made before it since the model was guarded.
        epoch: The epoch that `fit` was in, from 0; 0 outside `fit`.
        step_in_epoch: Steps made before it in that epoch.
        kind: "rows" (single rows are to blame), "batch" (no single row could be named, or the step
            failed without those as well), "explosion" (finite, but loss or gradient norm far
            beyond what it usually is), "state" (weights, slots or statistics were found
            non-finite) or "budget" (more was skipped than may be).
        first_seen: "input", "label", "weight", "loss", "gradient", "rate", "state", or "operation"
            (TensorFlow refused to compute).
        rows: The rows to blame; empty where none could be named. Under other kinds than "rows"
            the step failed without them as well.
        num_rows: Rows in the batch; 0 without a batch, or where TensorFlow refused it unseen.
        loss: Loss of the batch as it was fed; may be non-finite; 0 without a batch.
        gradient_norm: Global norm of the gradient of the batch as it was fed; as `loss`.
        learning_rate: The rate at that step.
        done: "dropped rows", "tried again" (with success and every row, where only sums
            overflowed or only XLA failed), "skipped step", "cut rate", "rolled back", "went on"
            (a spent budget that no rate is to blame for) or "stopped".
        loss_scale: What the optimizer multiplies the loss by; 1 without loss scaling.
        place: The first layer, in the order of the forward pass, whose output was not finite on
            the rows that were not to blame, or else "gradient of" the first weight whose gradient
            was not. "" where all were finite, or the step was made without the bad rows. Under a
            distribution strategy gradients alone are looked at.
        before: Loss and gradient norm of the last good steps before, at most 8, the latest last.
        note: What else there is to say, such as why no row could be named.
    """

    step: int
    epoch: int
    step_in_epoch: int
    kind: str
    first_seen: str
    rows: tuple[BadRow, ...]
    num_rows: int
    loss: float
    gradient_norm: float
    learning_rate: float
    done: str
    loss_scale: float = 1.0
    place: str = ""
    before: tuple[tuple[float, float], ...] = ()
    note: str = ""

    @property
    def num_skipped_rows(self) -> int:
        """Rows that had no part in an update."""
        return self.num_rows if self.done == "skipped step" else len(self.rows)

    def to_json(self) -> dict[str, Any]:
        """Give the incident as JSON values; a non-finite number becomes the text of it.

        >>> fault = BadRow(position=1, row_id=7, seen="label")
        >>> Incident(3, 0, 3, "rows", "label", (fault,), 8, float("nan"), 1.0, 0.1,
        ...          "dropped rows").to_json()["loss"]
        'nan'
        """
        fields = asdict(self)
        fields["rows"] = [asdict(row) | {"columns": list(row.columns)} for row in self.rows]
        fields["before"] = [{"loss": loss, "gradient_norm": norm} for loss, norm in self.before]
        for name in ("loss", "gradient_norm", "learning_rate", "loss_scale"):
            if not math.isfinite(fields[name]):
                fields[name] = repr(fields[name])
        return fields


def steps_before(recent: Any) -> tuple[tuple[float, float], ...]:
    """Give loss and gradient norm of the last 8 steps, the latest last.

    Args:
        recent: `(2, count)`, the newest first.
    """
    return tuple((float(loss), float(norm)) for loss, norm in recent.T[:_NUM_BEFORE][::-1])
