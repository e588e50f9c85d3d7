"""A training step that bad rows and bad steps cannot poison.

model.py       guarded: makes a model's training step a guarded one
loss.py        GuardedLoss: the loss alone, and what that cannot do
settings.py    what may pass, and how often to skip
function.py    what fit calls
execution.py   several steps to a call
step.py        the fast step, and the careful one behind it
attempt.py     one step, whole or not at all
commit.py      all replicas or none
usual.py       what loss and gradient norm usually are; where an explosion begins
probe.py       which rows are to blame
cells.py       which cells are
origins.py     where a row came from
places.py      which layer or gradient is
shares.py      what a row has in a loss
finite.py      where non-finite numbers are looked for
batch.py       nested batches and their rows
report.py      what the careful step tells the host
incident.py    what is written down
board.py       what TensorBoard is told
table.py       and shown at the end
witness.py     incidents and the skip budget
recorder.py    bad steps, kept whole
replay.py      and made again
recovery.py    a smaller rate, a roll-back, the end
snapshot.py    copies of good states
"""

from pipeline.guard.incident import BadRow, Incident
from pipeline.guard.loss import GuardedLoss
from pipeline.guard.model import guarded
from pipeline.guard.replay import replay
from pipeline.guard.settings import GuardSettings
from pipeline.guard.witness import Witness

__all__ = ["BadRow", "GuardSettings", "GuardedLoss", "Incident", "Witness", "guarded", "replay"]
