"""What the careful step tells the host of a bad step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pipeline.guard.attempt import EXPLOSIONS, GATES

# Where a row can be seen to be bad, in the order of the masks.
SEEN = ("input", "label", "weight", "loss", "gradient")


class Report(NamedTuple):
    """A bad step, as arrays.

    Args:
        step: int scalar.
        masks: bool `(5, batch)`: bad input, label, weight, loss, gradient.
        firsts: int32 `(columns, batch)`, as `Cells.find` gives them.
        row_ids: `(batch,)` int or bytes; -1 for none.
        gates: bool `(9,)`: the first attempt's gates, in the order of `GATES` and `EXPLOSIONS`.
        retry_gates: The same of the attempt without the bad rows; all True if there was none.
        scalars: The first attempt's loss, gradient norm and learning rate, and the loss scale.
        committed: Whether the step was made without the bad rows.
        rescaled: Whether it was an overflow that a smaller loss scale answers.
        has_rows: Whether the batch could be taken apart by row.
        places: bool `(places,)`: the places of the attempt without the bad rows; True is finite.
        recent: `(2, count)`: losses and gradient norms of the last good steps, newest first.
    """

    step: Any
    masks: Any
    firsts: Any
    row_ids: Any
    gates: Any
    retry_gates: Any
    scalars: Any
    committed: Any
    rescaled: Any
    has_rows: Any
    places: Any
    recent: Any

    @property
    def exploded(self) -> str | None:
        """Name what was finite and far outside its usual range; None if nothing was."""
        closed = ~(self.gates & self.retry_gates)[len(GATES) :]
        return EXPLOSIONS[int(np.argmax(closed))] if closed.any() else None

    @property
    def first_seen(self) -> str:
        """Name the first gate that closed; of rows found to be bad, the first mask.

        Where the step failed without them as well, it is the gate that closed then.
        """
        if self.failed_again:
            return self._first_closed(self.retry_gates) or "state"
        for name, found in zip(SEEN[:3], self.masks[:3].any(axis=1), strict=True):
            if found:
                return name
        return self._first_closed(self.gates) or self.exploded or "state"

    @staticmethod
    def _first_closed(gates: Any) -> str | None:
        closed = (n for n, good in zip((*GATES, *EXPLOSIONS), gates, strict=True) if not good)
        return next(closed, None)

    @property
    def failed_again(self) -> bool:
        """Tell whether the step was not made although bad rows were left out of it."""
        some_left = bool(self.masks.any()) and not self.masks.any(axis=0).all()
        return some_left and not self.committed and not self.retry_gates.all()

    @property
    def blames_rows(self) -> bool:
        """Tell whether single rows are to blame."""
        bad = self.masks.any(axis=0)
        # Where every row failed in the model and not in its data, it is the model that failed.
        of_the_data = bool(self.masks[:3].any(axis=0).all())
        return bool(bad.any()) and (bool(self.committed) or not bad.all() or of_the_data)

    def first_place(self, names: list[str]) -> str:
        """Name the first place that was not finite; "" if all were, or the step was made."""
        if self.committed or self.places.all():
            return ""
        return names[int(np.argmin(self.places))]
