"""Composes the stages; each public function is one command, and stands in `flawmap` itself."""
