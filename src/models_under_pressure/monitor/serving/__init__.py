"""A monitor behind HTTP: an OpenAI-compatible endpoint and one page, for `mup serve`."""
