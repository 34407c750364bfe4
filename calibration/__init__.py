"""Where the camera stands relative to the bed. The lowest floor: it imports no other."""
