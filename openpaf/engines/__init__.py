"""Engines that run a network: torch, ONNX Runtime, OpenVINO, LiteRT and Core ML."""
