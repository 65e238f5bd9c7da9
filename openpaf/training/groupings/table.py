"""The table of groupings that are trained: a new one is a file here, a row, and its name in
:class:`openpaf.training.config.TrainConfig`.
"""

from __future__ import annotations

from openpaf.training.groupings.associative_embedding import AssociativeEmbedding
from openpaf.training.groupings.center_net import CenterNetGrouping
from openpaf.training.groupings.g_rmi import GRMIGrouping
from openpaf.training.groupings.grouping import Grouping
from openpaf.training.groupings.person_lab import PersonLabGrouping

#: By the name in the configuration.
GROUPINGS: dict[str, type[Grouping]] = {
    "associative-embedding": AssociativeEmbedding,
    "center-net": CenterNetGrouping,
    "person-lab": PersonLabGrouping,
    "g-rmi": GRMIGrouping,
}
