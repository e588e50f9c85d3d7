"""The training stage: a model, a reduced learning rate, `fit` behind the guard.

model.py    the network that a feature spec asks for
stage.py    fit, save, and compare with a constant
"""

from pipeline.train.model import build_model
from pipeline.train.stage import TrainResult, train_dataset

__all__ = ["TrainResult", "build_model", "train_dataset"]
