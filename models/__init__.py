"""The weights that openpaf ships: safetensors files, each with a card; no code.

Installed as the package ``openpaf.models``, so that the files are found from any folder:
``importlib.resources.files("openpaf.models")``.
"""
