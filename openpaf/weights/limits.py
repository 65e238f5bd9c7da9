"""How much a file of weights may ask for: every limit of what is read from such files.

A file may lie about itself. Each limit is far above what any published model needs, and far below
what would fill the memory or keep the processor busy for minutes.
"""

from __future__ import annotations

#: Bytes of all tensors of a file together, as they are in memory; the largest published pose
#: network has 210 MB.
MAX_STATE_BYTES = 1 << 30
#: Tensors of a file, those of an optimizer apart.
MAX_TENSORS = 20_000
#: Characters of the name of a tensor.
MAX_KEY_CHARS = 500
#: Dimensions of a tensor.
MAX_DIMENSIONS = 8

#: Bytes of the header of a safetensors file: a hundred or so for each tensor.
MAX_HEADER_BYTES = 8 << 20
#: Characters of what a file says of how its model is run.
MAX_NOTE_CHARS = 1 << 20
#: Bytes of the list of files in a zip archive.
MAX_ZIP_DIRECTORY_BYTES = 8 << 20
#: Bytes of the part of a PyTorch file that describes its tensors, and the steps to read it.
MAX_PICKLE_BYTES, MAX_PICKLE_STEPS = 32 << 20, 500_000
#: Fields of a Caffe or Core ML file that are looked at: a dozen for each layer.
MAX_MESSAGE_FIELDS = 200_000

#: Parameters of a network that a file describes.
MAX_PARAMETERS = 250_000_000
#: Stages, or blocks of a stage, of a network that a file describes.
MAX_STAGES = 32
#: Any other number among its options, such as channels or px.
MAX_OPTION = 100_000
#: Entries of a list among its options, and options.
MAX_OPTIONS = 64
MAX_JOINTS, MAX_LIMBS = 500, 2_000
#: Names of the classes of a detector.
MAX_CLASSES = 10_000

#: Bytes of a download whose size is not known.
MAX_DOWNLOAD_BYTES = 1 << 30
