"""What the guard writes down about a step that it did not take as it came."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class BadRow:
    """A row of a batch and where it was first seen to be bad.

    Args:
        position: Its place in the batch as it was fed, from 0.
        row_id: Its id, or None if the features carried none.
        seen: "input", "label", "weight", "loss" (non-finite prediction or loss) or "gradient".
    """

    position: int
    row_id: int | str | None
    seen: str


@dataclass(frozen=True)
class Incident:
    """One bad step.

    Args:
        step: Steps made before it since the model was guarded.
        epoch: The epoch that `fit` was in, from 0; 0 outside `fit`.
        step_in_epoch: Steps made before it in that epoch.
        kind: "rows" (single rows are to blame), "batch" (no single row could be named),
            "state" (weights, slots or statistics were found non-finite) or "budget" (more was
            skipped than may be).
        first_seen: "input", "label", "weight", "loss", "gradient", "rate" or "state".
        rows: The rows to blame; empty unless the kind is "rows".
        num_rows: Rows in the batch; 0 where the incident is not about a batch.
        loss: Loss of the batch as it was fed; may be non-finite; 0 without a batch.
        gradient_norm: Global norm of the gradient of the batch as it was fed; 0 without a batch.
        learning_rate: The rate at that step.
        done: "dropped rows", "tried again" (with success and every row, where only sums
            overflowed or only XLA failed), "skipped step", "rolled back" or "stopped".
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
        fields["rows"] = [asdict(row) for row in self.rows]
        for name in ("loss", "gradient_norm", "learning_rate"):
            if not math.isfinite(fields[name]):
                fields[name] = repr(fields[name])
        return fields
