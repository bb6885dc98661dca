"""Former path of the trainer; the loop is in `bnn/training/loop.py`."""

from bnn.training.config import TrainConfig
from bnn.training.loop import Trainer
from bnn.training.result import Epoch, Result, Step
from bnn.training.updates import MakeOptimizers

__all__ = ["Epoch", "MakeOptimizers", "Result", "Step", "TrainConfig", "Trainer"]
