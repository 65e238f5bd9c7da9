"""Engines that run a network: torch, ONNX Runtime and OpenVINO."""
