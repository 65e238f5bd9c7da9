"""ONNX files with 8-bit integers, by nncf, of the extra ``export``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openpaf.engines.base import quiet
from openpaf.engines.eight_bits import is_in_float, patterns_in_float
from openpaf.io.extras import import_extra, import_without_telemetry


def quantize_onnx(data: bytes, inputs: Sequence[NDArray[np.float32]], method: str) -> bytes:
    """An ONNX model with 8-bit integers, whose ranges are those seen in the inputs.

    Layers that stay in floating point are those of :mod:`openpaf.engines.eight_bits`.

    Args:
        data: The float model.
        inputs: (1, 3, h, w) float32 each, of typical photos; dozens of them.
        method: Of the model's spec.

    Raises:
        ValueError: If nncf or onnx, of the extra ``export``, is not installed.
    """
    onnx = import_extra("onnx", "export")
    with quiet():
        nncf = import_without_telemetry("nncf", "export")
        nncf.set_log_level(logging.ERROR)
        parameters = nncf.quantization.advanced_parameters.QuantizationParameters
        model = onnx.load_model_from_string(data)
        convolutions = {  # weights are named after their layer, by both exporters
            node.name: node.input[1] for node in model.graph.node if node.op_type == "Conv"
        }
        patterns = patterns_in_float(method, convolutions.values())
        result = nncf.quantize(
            model,
            nncf.Dataset([{"images": images} for images in inputs]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(
                names=[name for name, key in convolutions.items() if is_in_float(key, patterns)],
                validate=False,
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # Where sums can overflow, run_onnx() tells ONNX Runtime to take care.
                overflow_fix=nncf.OverflowFix.DISABLE,
                # ONNX Runtime has no integer convolution of inputs with a scale for each channel.
                activations_quantization_params=parameters(per_channel=False),
            ),
        )
    _make_activations_unsigned(onnx, result)
    onnx.checker.check_model(result)
    return bytes(result.SerializeToString())


def _make_activations_unsigned(onnx: Any, model: Any) -> None:
    """The same numbers as uint8, which ONNX Runtime's convolutions on x86 are fast with."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    changed, outputs = set(), set()
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        if node.input[0] in constants:  # weights
            continue
        outputs.add(node.output[0])
        zero = constants[node.input[2]]
        if zero.data_type == onnx.TensorProto.INT8 and zero.name not in changed:
            changed.add(zero.name)
            shifted = onnx.numpy_helper.to_array(zero).astype(np.int16) + 128
            zero.CopyFrom(onnx.numpy_helper.from_array(shifted.astype(np.uint8), zero.name))
    known = [value for value in model.graph.value_info if value.name not in outputs]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)
