"""What tells one RTMPose from another."""

from __future__ import annotations

# Depth and width of the CSPNeXt backbone, and its output channels (Jiang et al. 2023, RTMPose).
ARCHITECTURES = {
    "rtmpose-t": (0.167, 0.375, 384),
    "rtmpose-s": (0.33, 0.5, 512),
    "rtmpose-m": (0.67, 0.75, 768),
}
