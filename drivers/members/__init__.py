"""Slides of several files."""
