"""The experiments of the paper: labelled activations in, rows of results out."""
