"""flawmap: from a folder of photos to an honest, exported surface-flaw inspector."""

__version__ = "0.1.0"
