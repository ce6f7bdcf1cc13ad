"""What a network costs on paper, and what it costs on a device."""

__version__ = "0.1.0"
