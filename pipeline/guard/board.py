"""Incidents and epochs for TensorBoard, which need not be installed to write them.

The summaries are laid out as TensorBoard's own plugins write them: see the READMEs of `scalar`
and `text` under https://github.com/tensorflow/tensorboard/tree/master/tensorboard/plugins.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.guard.incident import Incident

_TEXT, _SCALAR = "text", "scalars"


class Board:
    """Writes to a log folder as a run goes on.

    Args:
        folder: A folder under TensorBoard's `--logdir`; made with the first summary.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = tf.summary.create_file_writer(str(folder))

    def write_incident(self, incident: Incident) -> None:
        """Write an incident at its step: what, where and what was done, and its two sizes."""
        where = ", ".join(map(str, incident.rows)) or incident.place or incident.note
        text = f"**{incident.kind}**: {incident.first_seen}: {where}: {incident.done}"
        self._write("guard/incidents", text, incident.step, _TEXT)
        sizes = {"loss": incident.loss, "gradient_norm": incident.gradient_norm}
        # Without a batch there is no size to show.
        for name, value in sizes.items() if incident.num_rows else ():
            self._write(f"guard/incident_{name}", np.float32(value), incident.step, _SCALAR)

    def write_epoch(self, epoch: int, logs: Mapping[str, Any]) -> None:
        """Write the numbers of an epoch."""
        for name, value in logs.items():
            self._write(f"epoch/{name}", np.float32(value), epoch, _SCALAR)

    def _write(self, tag: str, value: Any, step: int, plugin: str) -> None:
        metadata = tf.compat.v1.SummaryMetadata(
            plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin),
            data_class="DATA_CLASS_SCALAR" if plugin == _SCALAR else "DATA_CLASS_TENSOR",
        )
        with self._writer.as_default():
            tf.summary.write(tag, value, step=step, metadata=metadata)
        self._writer.flush()
