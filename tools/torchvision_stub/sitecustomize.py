"""Lets the Python part of a torchvision import whose C library does not fit this machine, for tests only.

torchvision refuses to import where its operators are missing. The networks that metrics are computed with need none of
them, so they are declared here, without a body; CONTRIBUTING.md says how this file is put to use.
"""

import torch

OPERATORS = (
    "nms", "qnms", "roi_align", "_roi_align_backward", "qroi_align", "ps_roi_align", "_ps_roi_align_backward", "roi_pool",
    "_roi_pool_backward", "ps_roi_pool", "_ps_roi_pool_backward", "deform_conv2d", "_deform_conv2d_backward",
)  # fmt: skip

library = torch.library.Library("torchvision", "DEF")
for operator in OPERATORS:
    library.define(f"{operator}(Tensor values) -> Tensor")
