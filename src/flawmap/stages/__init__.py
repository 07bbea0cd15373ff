"""The stages, one file each; they never import one another. `flawmap.pipeline` joins them."""
