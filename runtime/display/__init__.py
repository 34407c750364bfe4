"""The bedside page: a live skeleton in a browser on this box, never a pixel of the camera."""
