"""Frames in, skeletons out: capture sources, inference engines, detection, pose, tracking, display."""
