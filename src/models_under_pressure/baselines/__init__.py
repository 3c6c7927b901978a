"""Monitors that a user might run instead of a probe: prompted, asked, finetuned, and on the text alone."""
