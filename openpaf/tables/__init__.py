"""Tables of results: one schema for images and frames, and its files."""
