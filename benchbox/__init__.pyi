from benchbox import errors as errors
from benchbox.api.python import Step as Step
from benchbox.api.python import compare as compare
from benchbox.api.python import run as run
from benchbox.api.result import Result as Result
from benchbox.report.frame import read as read

__version__: str
