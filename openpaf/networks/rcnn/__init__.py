"""Mask R-CNN in plain torch: top-down pose estimation, to compare the library's own way with."""

from openpaf.networks.rcnn.config import MaskRCNNConfig
from openpaf.networks.rcnn.mask_rcnn import BUILDERS, MaskRCNN

__all__ = ["BUILDERS", "MaskRCNN", "MaskRCNNConfig"]
