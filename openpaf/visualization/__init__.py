"""Drawing poses into images."""
