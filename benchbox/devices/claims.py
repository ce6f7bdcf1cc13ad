"""Claims of device names: words such as arm64, x86 or gpu that say what a device is."""

import re

ARM_MACHINES = ("aarch64", "arm64")
X86_MACHINES = ("x86_64", "amd64", "i386", "i686")
ARM, X86, RISCV, GPU = "an ARM one", "an x86 one", "a RISC-V one", "a GPU"
ACCELERATOR = "an accelerator"
ON_CARDS = (GPU, ACCELERATOR)  # which no board is timed on
MAKER = "nvidia"  # of boards, too
WORDS = {
    ARM: re.compile(r"arm(\d+|hf|el)?(v\d\w*)?|aarch\d*|cortex\w*|m[1-9]|snapdragon|graviton\d*"),
    X86: re.compile(r"x86\d*|x64|amd64|i[3-6]86|intel|amd|xeon|ryzen|epyc"),
    RISCV: re.compile(r"risc|riscv\d*|rv(32|64)\w*"),
    GPU: re.compile(
        r"gpus?\d*|[di]gpu\d*|cuda\d*|nvidia|geforce|rtx\d*|gtx\d*|[ahv][12]00|radeon|mali|adreno"
    ),
    ACCELERATOR: re.compile(r"[nt]pu\d*"),
}


def of(name: str) -> list[str]:
    """What the words of a name claim."""
    said = re.split(r"[^a-z0-9]+", name.lower())
    return [what for word in said for what, words in WORDS.items() if words.fullmatch(word)]


def false_one(name: str, machine: str, model: str | None = None, *, has_card: bool = False) -> str:
    """What a name claims that a processor is not, empty where all of it is true.

    Where it `has_card` to be timed on, what is claimed of that is left alone.
    MAKER is true of a board that its `model` says so of, and may be where that is not known.
    """
    machine = machine.lower()
    true = {
        ARM: machine in ARM_MACHINES,
        X86: machine in X86_MACHINES,
        RISCV: machine.startswith("riscv"),
        **(dict.fromkeys(ON_CARDS, True) if has_card else {}),
    }
    if model is None or MAKER in model.lower():
        name = name.replace(MAKER, "")
    return next((what for what in of(name) if not true.get(what, False)), "")
