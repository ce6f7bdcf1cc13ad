"""The agent without Python: a small C program for devices that have none, as phones over adb.

It is built here for the device's processor, pushed there with the libraries that it needs, and
speaks the protocol of benchbox.agent, less `look` and `profile`. Of `health` it knows the
temperature. It makes no inputs of its own: each of a `load` names a file on the device, `"data"`,
with the bytes of the array in the order of C, little-endian. With `"outputs_file"` it writes those
of the first outputs to a file.
"""

from benchbox.transports.native.build import MACHINES, build
from benchbox.transports.native.bundle import Bundle, bundle
from benchbox.transports.native.input_files import input_files, with_data

__all__ = ["MACHINES", "Bundle", "build", "bundle", "input_files", "with_data"]
