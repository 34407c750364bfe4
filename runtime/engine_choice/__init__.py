"""Which engine serves the live path on this box: tried, compared with the reference, timed, kept."""
