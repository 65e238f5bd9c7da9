"""People followed from frame to frame."""
