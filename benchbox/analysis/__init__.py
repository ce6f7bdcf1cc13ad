"""Numbers from numbers: statistics, states, disturbances, change points, profile shares."""
