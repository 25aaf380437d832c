"""Training of a re-identification network: the strong baseline of Luo et al. (BoT), on the loop of all stages."""

from imagpose.training.reid.config import ReidConfig
from imagpose.training.reid.stage import ReidStage, train_reid

__all__ = ["ReidConfig", "ReidStage", "train_reid"]
