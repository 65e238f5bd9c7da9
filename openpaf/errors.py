"""The errors of the outside world; wrong arguments are plain ``ValueError``."""


class OpenpafError(Exception):
    """Something outside the program is not as it should be; the message names the file."""


class ImageError(OpenpafError):
    """A picture is missing, unreadable, or not a picture."""


class WeightsError(OpenpafError):
    """A checkpoint is missing, damaged, or does not fit its network."""


class VideoError(OpenpafError):
    """A video, stream or camera is missing, unreadable, or has no picture."""
