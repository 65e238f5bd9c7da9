"""Skeletons: the joints of a person and the limbs that connect them; their names; known ones."""

from openpaf.skeleton.definition import Skeleton as Skeleton
from openpaf.skeleton.definition import known_sigmas as known_sigmas
