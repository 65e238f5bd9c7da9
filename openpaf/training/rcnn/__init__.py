"""Training of Mask R-CNN."""
