"""What every check is made of: the list of exercises, inputs, comparisons and what they say."""
