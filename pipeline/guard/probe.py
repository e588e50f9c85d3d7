"""Which rows of a batch are to blame.

With batch statistics one bad row makes every row bad in training mode, so the rows are tried in
inference mode, on statistics that were never poisoned. The gradient of the loss with respect to a
row's share is what it has in the loss: no need to look inside the loss.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from pipeline.guard.attempt import HeldState, call_model
from pipeline.guard.batch import Parts, Tensor, float_leaves, has_rows, num_rows, take_rows
from pipeline.guard.cells import Cells
from pipeline.guard.finite import bad_rows
from pipeline.guard.report import SEEN
from pipeline.guard.settings import GuardSettings
from pipeline.guard.shares import share_losses


class Findings(NamedTuple):
    """What the careful look found on one replica.

    Args:
        masks: bool `(5, batch)`: bad input, label, weight, loss, gradient.
        firsts: int32 `(columns, batch)`, as `Cells.find` gives them.
        keep: int32 `(kept,)`: the rows to try again with.
        row_ids: `(batch,)`, or -1 for every row if there are none.
        has_rows: bool scalar; whether the batch can be taken apart by row.
    """

    masks: Tensor
    firsts: Tensor
    keep: Tensor
    row_ids: Tensor
    has_rows: Tensor


def find_bad_rows(
    model: Any, settings: GuardSettings, parts: Parts, exploded: Tensor, cells: Cells
) -> Findings:
    """Look closely at a batch on one replica; `exploded` is that of `model_faults`."""
    rows = num_rows(parts.x)
    row_ids = tf.fill([rows], tf.constant(-1, tf.int64))
    if parts.row_ids is not None:
        row_ids = tf.reshape(parts.row_ids, [rows])
    if not has_rows(parts[:3]):
        # No row can be told apart: the batch stands or falls as a whole.
        masks = tf.zeros([len(SEEN), rows], tf.bool)
        none = tf.zeros([0, rows], tf.int32)
        return Findings(masks, none, tf.range(rows), row_ids, tf.constant(False))
    firsts = cells.find(parts, rows, first_dtype(model))
    if is_stateful(model):
        # Bad cells are seen, and nothing can be dropped.
        found = tf.concat([tf.stack(data_faults(parts)), tf.zeros([2, rows], tf.bool)], axis=0)
        return Findings(found, firsts, tf.range(rows), row_ids, tf.constant(True))
    data = data_faults(parts)
    sound = tf.where(~tf.reduce_any(tf.stack(data), axis=0))[:, 0]

    def probe() -> Tensor:
        rest = take_sound(parts, sound)
        found = model_faults(model, settings, rest, exploded)
        places = sound[:, tf.newaxis]
        shape = tf.cast([rows], tf.int64)
        return tf.stack(
            [tf.scatter_nd(places, tf.cast(mask, tf.int32), shape) > 0 for mask in found]
        )

    none = tf.zeros([3, rows], tf.bool)
    found = tf.cond(tf.size(sound) > 0, probe, lambda: none)
    data[0] = data[0] | found[0]
    masks = tf.concat([tf.stack(data), found[1:]], axis=0)
    keep = tf.where(~tf.reduce_any(masks, axis=0))[:, 0]
    # Where every row is to blame none is: a fault of the model, not of its rows.
    keep = tf.cond(tf.size(keep) > 0, lambda: keep, lambda: sound)
    return Findings(masks, firsts, tf.cast(keep, tf.int32), row_ids, tf.constant(True))


def take_sound(parts: Parts, rows: Tensor) -> Parts:
    """Give the rows of a batch that are left to train on."""
    if not has_rows(parts[:3]):
        # Nothing was dropped, since nothing can be.
        return parts._replace(row_ids=None)
    x, y, sample_weight = take_rows(parts[:3], rows)
    return Parts(x, y, sample_weight, None)


def data_faults(parts: Parts) -> list[Tensor]:
    """Mark rows with a non-finite input, label or weight: three masks, bool `(batch,)`."""
    rows = num_rows(parts.x)
    floatx = keras.config.floatx()
    return [
        bad_rows(parts.x, tf.float32, rows),
        bad_rows(parts.y, floatx, rows),
        bad_rows(parts.sample_weight, floatx, rows),
    ]


def model_faults(
    model: Any, settings: GuardSettings, parts: Parts, exploded: Tensor
) -> list[Tensor]:
    """Mark rows whose own loss or gradient is out of bounds: three masks, bool `(batch,)`.

    The first is of rows to blame for their input: finite as it is, and infinite in the float16
    that the model casts it to first. `exploded` is a bool scalar: whether also such rows are out
    of bounds as are far outside what the batch's own are.
    """
    rows = num_rows(parts.x)
    share = tf.ones([rows])
    watched = list(float_leaves(parts.x))
    with HeldState(), tf.GradientTape() as tape:
        tape.watch([share, *watched])
        y_pred = call_model(model, parts.x, training=False)
        with share_losses(share):
            loss = model._compute_loss(
                x=parts.x,
                y=parts.y,
                y_pred=y_pred,
                sample_weight=parts.sample_weight,
                training=False,
            )
    predictions = list(float_leaves(y_pred))
    gradients = tape.gradient(loss, [share, *watched, *predictions])
    own_loss = bad_rows([gradients[0], *predictions], tf.float32, rows)
    if gradients[0] is not None:
        own_loss |= exploded & _far_outside(tf.abs(gradients[0]), settings.explosion_ratio**2)
    own_gradient = tf.zeros([rows], tf.bool)
    for gradient in gradients[1:]:
        if isinstance(gradient, tf.Tensor):
            norms = _row_norms(gradient)
            own_gradient |= ~(tf.math.is_finite(norms) & (norms <= settings.max_gradient_norm))
            own_gradient |= exploded & _far_outside(norms, settings.explosion_ratio)
    overflowed = bad_rows(parts.x, first_dtype(model), rows) & (own_loss | own_gradient)
    return [overflowed, own_loss, own_gradient]


def is_stateful(model: Any) -> bool:
    """Tell whether a layer has a state for every row, and so takes batches of one size alone."""
    return any(getattr(layer, "stateful", False) for layer in model._flatten_layers())


def first_dtype(model: Any) -> str:
    """Give the narrowest float type that the model casts its inputs to before it uses them.

    A functional or sequential model leaves that to the layers that take its inputs; a subclassed
    one does it by itself.
    """
    graph = getattr(model, "_functional", None) or model
    if not hasattr(graph, "operations"):
        return str(model.compute_dtype if model.autocast else "float32")
    given = {id(tensor) for tensor in graph.inputs}
    first = [
        operation
        for operation in graph.operations
        for node in operation._inbound_nodes
        if given & {id(tensor) for tensor in node.input_tensors}
    ]
    dtypes = {getattr(operation, "compute_dtype", None) for operation in first}
    return "float16" if "float16" in dtypes else "float32"


def _row_norms(gradient: Tensor) -> Tensor:
    squares = tf.square(tf.cast(gradient, tf.float32))
    return tf.sqrt(tf.reduce_sum(squares, axis=list(range(1, gradient.shape.rank))))


def _far_outside(sizes: Tensor, ratio: float) -> Tensor:
    """Mark the rows whose size is beyond `ratio` times the batch's lower median, if it has one."""
    count = tf.size(sizes)
    median = tf.math.top_k(sizes, count).values[count // 2]
    return (median > 0.0) & (sizes > median * ratio)
