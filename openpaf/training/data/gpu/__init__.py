"""Batches made on the GPU from photos held in its memory."""
