"""Training samples: annotations, augmentation, targets and batches."""
