"""Pieces that know nothing of the pipeline; each can be used by itself."""
