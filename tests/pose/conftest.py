from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imagpose.pose import Pose

# nose neck | right shoulder elbow wrist | left ... | right hip knee ankle | left ... | eyes | ears; in 384 x 512
STANDING = (
    (192, 60), (192, 110), (145, 112), (120, 180), (100, 250), (240, 112), (265, 178), (290, 245), (165, 250),
    (160, 350), (155, 450), (220, 250), (226, 348), (232, 452), (181, 48), (203, 48), (166, 56), (218, 56),
)  # fmt: skip


@pytest.fixture
def standing() -> Pose:
    """A person in a frame of 384 x 512 whose joints do not cover each other."""
    return Pose(np.concatenate([np.array(STANDING), np.ones((18, 1))], 1), 384, 512)


@pytest.fixture
def refused() -> Callable[[Callable[[Path], object], Path, str], None]:
    """Checks that a reader refuses a file in one line that names it and matches a message."""

    def check(read: Callable[[Path], object], path: Path, message: str) -> None:
        with pytest.raises(ValueError, match=message) as error:
            read(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)

    return check
