"""Pixels and metadata into the stage."""
