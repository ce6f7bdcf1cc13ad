"""Stand-ins for NVIDIA's libraries, written in C, behind the interfaces of the real ones."""
