"""Recipes of students: a shipped model's many evaluations in one, two or four."""
