"""A language model under every way to quantize it: what `make demo` runs."""
