"""ChArUco boards: their corners in a picture, and the camera's pose before one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FEWEST_CORNERS = 6


@dataclass(frozen=True, slots=True)
class Board:
    """A ChArUco board: squares across and down, their edge and the markers' edge in metres; OpenCV's dictionary."""

    squares_x: int
    squares_y: int
    square_length: float
    marker_length: float
    dictionary: int = cv2.aruco.DICT_5X5_100

    def __post_init__(self) -> None:
        if self.squares_x < 3 or self.squares_y < 3:
            raise ValueError(f"a board needs 3 × 3 squares or more, got {self.squares_x} × {self.squares_y}")
        if not 0 < self.marker_length < self.square_length:
            raise ValueError(
                f"markers must be smaller than squares, got {self.marker_length} m in squares of {self.square_length} m"
            )

    def to_opencv(self) -> cv2.aruco.CharucoBoard:
        dictionary = cv2.aruco.getPredefinedDictionary(self.dictionary)
        size = (self.squares_x, self.squares_y)
        return cv2.aruco.CharucoBoard(size, self.square_length, self.marker_length, dictionary)


@dataclass(frozen=True)
class BoardView:
    """Inner corners found in one picture: points (N, 3) on the board in metres, pixels (N, 2), ids (N,)."""

    points: NDArray[np.float64]
    pixels: NDArray[np.float64]
    ids: NDArray[np.int64]


def detect_board(image: NDArray[np.uint8], board: Board) -> BoardView | None:
    """The board's corners in a picture (H, W) or (H, W, 3) RGB, or None when fewer than six are found."""
    grey = np.ascontiguousarray(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    target = board.to_opencv()
    detector = cv2.aruco.CharucoDetector(target)
    charuco = detector.getCharucoParameters()
    charuco.tryRefineMarkers = True
    detector.setCharucoParameters(charuco)
    parameters = detector.getDetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
    detector.setDetectorParameters(parameters)
    corners, ids, _, _ = detector.detectBoard(grey)
    if corners is None or ids is None or len(ids) < FEWEST_CORNERS:
        return None
    points, pixels = target.matchImagePoints(corners, ids)
    return BoardView(
        np.asarray(points, dtype=np.float64).reshape(-1, 3),
        np.asarray(pixels, dtype=np.float64).reshape(-1, 2),
        np.ravel(ids).astype(np.int64),
    )
