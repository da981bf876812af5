"""What was handed in: reading notebooks and downloads, and comparing answers."""
