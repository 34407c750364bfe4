"""What tells one RTMPose from another, and what its pictures are normalised by."""

from __future__ import annotations

# Mean and standard deviation of ImageNet, of 0…255: what RTMPose was made for.
POSE_MEAN = (123.675, 116.28, 103.53)
POSE_STD = (58.395, 57.12, 57.375)
# Depth and width of the CSPNeXt backbone, and its output channels (Jiang et al. 2023, RTMPose).
ARCHITECTURES = {
    "rtmpose-t": (0.167, 0.375, 384),
    "rtmpose-s": (0.33, 0.5, 512),
    "rtmpose-m": (0.67, 0.75, 768),
}
