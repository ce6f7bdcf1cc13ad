"""Faults that could lose what was measured: readers that leave, signals, full disks, resumes."""
