"""The rows that break one rule of the whole dataset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Breaks:
    """The rows that break one rule, by ascending row id.

    Attributes:
        row_ids: `(rows,)` int64.
        rows: `(rows,)` int64; the line each starts on, as `Batch.rows`.
        otherwise_broken: `(rows,)` bool; whether it is counted as broken already.
    """

    row_ids: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    otherwise_broken: npt.NDArray[np.bool_]
