"""Devices reached by SSH."""
