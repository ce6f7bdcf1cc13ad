"""Messages of ONNX Runtime without its own source, and with what to do where that is known."""

import re

# Where in ONNX Runtime's own source an error was raised, with the function, and its code.
SOURCE = re.compile(
    r"[\w./-]+\.(?:cc|h|cpp|cuh?):\d+ "
    r"(?:[^()\[\]]*?\w::[^()]*\((?:[^()]|\([^()]*\))*\)(?:::<[^>]*>)?(?: const)?"
    r"(?: \[with [^\]]*\])?|\w+) ?"
    r"|\[ONNXRuntimeError\] : \d+ : \w+ : |Exception from [\w./-]+:\d+: "
)
RUNNING = re.compile(
    r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: "
)
OPENED = re.compile(r"Load model from (?:.*?[/\\])?([^/\\]+?) failed: ?")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What is said in place of a message, or after it.
INSTEAD = (
    (
        r"Opset (\d+) is under development.* for domain (?!ai.onnx is)([\w.]+) is till opset (\d+)",
        r"its opset \1 of \2 is newer than this ONNX Runtime knows, which is \3 at most; "
        r"take a newer ONNX Runtime",
    ),
    (
        r"Opset (\d+) is under development.* is till opset (\d+)",
        r"its opset \1 is newer than this ONNX Runtime knows, which is \2 at most; "
        r"export it with opset \2, or take a newer ONNX Runtime",
    ),
    (
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        r"its IR version \1 is newer than this ONNX Runtime reads, which is \2 at most; "
        r"save it with ir_version = \2, or take a newer ONNX Runtime",
    ),
)
GIVE = "give values that fit with --input NAME=FILE.npy"
AFTER = (
    ("Could not find an implementation for", "this ONNX Runtime has no kernel for it in this type"),
    ("is not a registered function/op", "an operator library of one's own is not loaded"),
    ("Could not determine default backend path", "name one: --provider qnn,backend_type=htp"),
    ("out of data bounds", GIVE),
    ("Scale value should be greater", GIVE),
)


def plain(text: str) -> str:
    """A message as one line that a user of ONNX Runtime can read."""
    text = OPENED.sub(r"\1: ", " ".join(ESCAPES.sub("", text).split()))
    text = RUNNING.sub(lambda m: f"{m[1]} {m[2]}".strip() + ": ", SOURCE.sub("", text))
    for pattern, words in INSTEAD:
        if match := re.search(pattern, text):
            return match.expand(words)
    advice = next((words for sign, words in AFTER if sign in text), "")
    return f"{text.rstrip('. ')}; {advice}" if advice else text
