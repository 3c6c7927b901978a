"""What changed between two revisions, and whether it matters."""
