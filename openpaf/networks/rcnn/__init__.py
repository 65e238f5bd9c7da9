"""Mask R-CNN in plain torch: top-down pose estimation, for comparison with bottom-up."""

from openpaf.networks.rcnn.config import MaskRCNNConfig
from openpaf.networks.rcnn.mask_rcnn import BUILDERS, MaskRCNN

__all__ = ["BUILDERS", "MaskRCNN", "MaskRCNNConfig"]
