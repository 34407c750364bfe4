"""Skeletons over time, in the formats of the field; never a pixel."""
