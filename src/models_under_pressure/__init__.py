"""Find high-stakes conversations with activation probes (arXiv 2506.10805)."""
