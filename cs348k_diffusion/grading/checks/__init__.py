"""Running the checks, and showing what they say: in the notebook and in batch."""
