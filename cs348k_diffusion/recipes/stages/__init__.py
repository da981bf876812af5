"""Recipes of what stands behind or before a model in a pipeline: upsamplers of a cascade, codecs."""
