"""Processes that run students' code, and what holds them in."""
