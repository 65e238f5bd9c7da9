"""Videos, streams and cameras: reading, processing and writing."""
