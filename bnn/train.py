"""Former path of the trainer; the loop is in `bnn/training/loop.py`."""

from bnn.training.config import TrainConfig
from bnn.training.loop import Epoch, Result, Step, Trainer

__all__ = ["Epoch", "Result", "Step", "TrainConfig", "Trainer"]
