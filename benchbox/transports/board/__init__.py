"""Devices with Python: what is kept, sent and started there."""
