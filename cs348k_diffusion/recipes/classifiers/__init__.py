"""Recipes of the networks that read a picture: for guidance, and for the metrics' features."""
