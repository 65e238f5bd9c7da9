"""Numba kernels that several rooms use, and how they are compiled and cached."""
