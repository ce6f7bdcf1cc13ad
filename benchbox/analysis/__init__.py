"""Analysis of numbers: statistics, states, disturbances, change points, profile shares."""
