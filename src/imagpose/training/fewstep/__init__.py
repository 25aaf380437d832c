"""A few-step student of a trained denoiser: as good in 4, 2 or 1 evaluations as its teacher in 40.

`objective` has the mathematics, `config` says what can be chosen, `stage` puts them together. Only the UNet learns; what it
becomes is a model folder like any other, which says how many steps and how much guidance it takes.
"""

from imagpose.training.denoiser import fill_caches
from imagpose.training.fewstep.config import FewStepConfig
from imagpose.training.fewstep.stage import FewStepStage, build_student
from imagpose.training.run import Trainer

__all__ = ["FewStepConfig", "FewStepStage", "train_fewstep"]


def _prepared(config: FewStepConfig) -> FewStepStage:
    return FewStepStage(config, fill_caches(config, build_student)[0])


train_fewstep = Trainer(FewStepConfig, _prepared)
