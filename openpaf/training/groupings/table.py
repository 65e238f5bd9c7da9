"""The table of groupings that are trained: a new one is a file here, and a row."""

from __future__ import annotations

from openpaf.training.groupings.associative_embedding import AssociativeEmbedding
from openpaf.training.groupings.center_net import CenterNetGrouping
from openpaf.training.groupings.g_rmi import GRMIGrouping
from openpaf.training.groupings.grouping import Grouping
from openpaf.training.groupings.person_lab import PersonLabGrouping

#: By the method of their networks, as in :attr:`openpaf.weights.ModelSpec.method`.
GROUPINGS: dict[str, type[Grouping]] = {
    "associative_embedding": AssociativeEmbedding,
    "center_net": CenterNetGrouping,
    "person_lab": PersonLabGrouping,
    "single_person": GRMIGrouping,
}
