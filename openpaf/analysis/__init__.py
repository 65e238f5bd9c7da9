"""What people do in a video: angles of joints and their speed, repetitions, places, zones.

Example:
    >>> import numpy as np
    >>> from openpaf.analysis import count_repetitions
    >>> times_s = np.arange(100) / 25
    >>> knee_deg = 130 + 50 * np.cos(2 * np.pi * times_s)  # four squats of a second each
    >>> repetitions = count_repetitions(knee_deg, times_s)
    >>> len(repetitions), repetitions[0].lowest_deg < 81
    (4, True)
"""

from openpaf.analysis.angles import angle_series as angle_series
from openpaf.analysis.angles import angular_speed as angular_speed
from openpaf.analysis.heatmap import person_heatmap as person_heatmap
from openpaf.analysis.pose_files import read_recording as read_recording
from openpaf.analysis.recording import Recording as Recording
from openpaf.analysis.repetitions import Repetition as Repetition
from openpaf.analysis.repetitions import count_repetitions as count_repetitions
from openpaf.analysis.zones import read_zones as read_zones
from openpaf.analysis.zones import time_in_zones as time_in_zones
