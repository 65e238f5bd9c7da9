"""Labels for a labeling tool and for training, made by a model."""
