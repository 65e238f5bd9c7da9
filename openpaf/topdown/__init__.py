"""Mask R-CNN in plain torch: top-down pose estimation, to compare the library's own way with."""

from openpaf.topdown.config import MaskRCNNConfig
from openpaf.topdown.mask_rcnn import BUILDERS, MaskRCNN

__all__ = ["BUILDERS", "MaskRCNN", "MaskRCNNConfig"]
