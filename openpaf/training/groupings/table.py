"""The table of groupings that are trained: a new one is a file here, and a row."""

from __future__ import annotations

from openpaf.training.groupings.associative_embedding import AssociativeEmbedding
from openpaf.training.groupings.grouping import Grouping

#: By the method of their networks, as in :attr:`openpaf.weights.ModelSpec.method`.
GROUPINGS: dict[str, type[Grouping]] = {
    "associative_embedding": AssociativeEmbedding,
}
