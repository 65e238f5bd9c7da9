"""Training of groupings other than part affinity fields, a file each; one task for all."""
