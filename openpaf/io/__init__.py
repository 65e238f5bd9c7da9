"""Images, pose files and JSON: reading, and writing whole or not at all."""
