"""``openpaf export``: a model as a file for another engine, compared with torch."""

from __future__ import annotations

import argparse
import logging
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openpaf.cli.arguments import add_size_argument, add_verb
from openpaf.cli.common import (
    counted,
    number_argument,
    path_argument,
    report,
    say,
    shown,
    source_argument,
    waiting,
)
from openpaf.cli.photos import check_writable

if TYPE_CHECKING:
    from openpaf.engines.export import Difference
    from openpaf.weights.spec import ModelSource

_DESCRIPTION = """\
Writes a model as one ONNX or LiteRT file, as OpenVINO's .xml and .bin, or as a Core ML package,
with the normalization inside: RGB values of 0 to 255 in, heatmaps and part affinity fields out, or
the arrays of another method (docs/methods.md). The file is compared with torch on photos; if the
arrays differ by more than the tolerance, it is refused. A Core ML package runs on macOS only: on
other systems it is not compared.
`openpaf predict --model FILE` runs it.

Of a top-down pair each network becomes a file, beside a .json file that names them and that
`--model` takes; not as ONNX in 8 bits, nor of topdown-best as LiteRT or Core ML, whose files are
for one size of image each.
"""
_EPILOG = """\
examples:
  openpaf export lightweight-coco17 --to onnx
  openpaf export lightweight-coco17 --to openvino --precision bfloat16 --photos photos/
  openpaf export lightweight-coco17 --to openvino --precision int8 --photos photos/ \\
      --calibration many-photos/ --output fast.xml
  openpaf export lightweight-coco17 --to onnx --fixed-size 256x456 --photos photos/
  openpaf export lightweight-coco17 --to litert --photos photos/
  openpaf export lightweight-coco17 --to coreml --precision float16
  openpaf export topdown --to onnx --photos photos/ --output exported/topdown.json

The difference is the root mean square of the difference of the fields, as a share of the root mean
square of the fields. Tolerance: 0.001 for float32, 0.01 for float16, 0.05 for bfloat16, 0.15 for
int8.
`--engine openvino-int8` runs MODEL-int8.xml, if it lies beside the weights of MODEL.
"""


def add_parser(verbs: argparse._SubParsersAction[Any]) -> None:
    """Describe the verb."""
    parser = add_verb(
        verbs,
        "export",
        run,
        help="write a model as ONNX, OpenVINO, LiteRT or Core ML, compared with torch",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    from openpaf.engines.table import PRECISIONS, export_formats

    add = parser.add_argument
    add("model", metavar="MODEL", help="a shipped model, or a safetensors file")
    add("--to", required=True, choices=tuple(export_formats()), help="the kind of file")
    add("--precision", default="float32", choices=PRECISIONS,
        help="float16 with Core ML, bfloat16 with OpenVINO only (default: float32)")  # fmt: skip
    add("--output", type=path_argument, metavar="FILE",
        help="default: the model's name, its precision and its kind's suffix, here")  # fmt: skip
    add("--fixed-size", type=_size, metavar="HxW",
        help="height and width of the input in px; any size if not given")  # fmt: skip
    add("--photos", nargs="+", default=[], type=source_argument, metavar="SOURCE",
        help="photos to compare on (default: three that are inside the package)")  # fmt: skip
    add("--calibration", nargs="+", default=[], type=source_argument, metavar="SOURCE",
        help="for int8: other photos, to learn the ranges of values from")  # fmt: skip
    add_size_argument(parser, more=" for these photos")
    add("--tolerance", type=number_argument, metavar="T", help="largest allowed difference")


def _size(text: str) -> tuple[int, int]:
    if not re.fullmatch(r"[0-9]{2,5}x[0-9]{2,5}", text):
        raise argparse.ArgumentTypeError(f"expected height x width as in 256x456, got {text!r}")
    height, width = text.split("x")
    return int(height), int(width)


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    from openpaf.engines.export import export_model
    from openpaf.engines.table import export_formats
    from openpaf.estimator.arrays import array_method_of, find_people
    from openpaf.estimator.export_pair import export_pair
    from openpaf.io.extras import need_extra
    from openpaf.io.images import list_images
    from openpaf.io.sample_images import sample_images
    from openpaf.weights.catalog import resolve

    logging.basicConfig(level=logging.WARNING, format="openpaf: %(message)s")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # of operators that no model has
    need_extra("export" if arguments.precision == "int8" else arguments.to, "--to")
    source = resolve(arguments.model)
    is_pair = source.kind == "pair"
    suffix = ".json" if is_pair else export_formats()[arguments.to]
    name = f"{Path(arguments.model).stem}-{arguments.precision}{suffix}"
    output = arguments.output or Path(name)
    if not (output.suffix == ".mlpackage" and output.is_dir()):  # an older package, replaced
        check_writable(output, "--output")
    options: dict[str, Any] = {
        "to": arguments.to,
        "precision": arguments.precision,
        "photos": list_images(arguments.photos) if arguments.photos else sample_images(),
        "calibration": list_images(arguments.calibration) if arguments.calibration else (),
        "tolerance": arguments.tolerance,
    }
    if is_pair and arguments.fixed_size:
        raise ValueError("--fixed-size: a top-down pair says its sizes itself, expected none")
    with waiting("exporting and comparing"):
        if is_pair:
            measured = export_pair(source, output, **options)
        else:
            array_method_of(source.spec)  # an error now rather than after the export
            measured = export_model(
                arguments.model, output, size_hw=arguments.fixed_size, size=arguments.size,
                find_people=find_people, **options,
            )  # fmt: skip
    _tell(measured, source, output, arguments)
    return 0


def _tell(
    measured: Difference | None, source: ModelSource, output: Path, arguments: argparse.Namespace
) -> None:
    """Say what was written, and how far it is from torch."""
    if measured is None:
        say(
            f"{shown(output)}: its description was read back; it was not run and not compared with "
            f"torch, as files for {arguments.to} cannot be run on {platform.system()}"
        )
        return
    has_fields = "pafs" in source.spec.outputs
    what = "fields" if has_fields else "arrays"
    of = "score or heatmap" if source.kind == "pair" else "heatmap"
    say(
        f"{shown(output)}: on {counted(measured.n_photos, 'photo', 'photos')} its {what} differ "
        f"from torch's by {measured.fields:.2g} of their root mean square, at most by "
        f"{measured.largest:.4f} in a {of}; {measured.n_same} of {measured.n_people} people "
        "are the same"
    )
    if not arguments.photos:
        report(f"checked on {measured.n_photos} sample photos only; --photos checks more")
