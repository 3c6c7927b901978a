"""What a user would run instead of a probe: prompted, finetuned and text monitors."""
