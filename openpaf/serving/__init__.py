"""People over HTTP, of the extra ``serve``: requests, batches across them, limits, metrics."""
