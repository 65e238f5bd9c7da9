"""Images by the thousand and million: listed lazily, in parts that are committed, anywhere."""
