"""Fleet options: what a run on the devices of a fleet can be asked, and its devices' places."""

from benchbox.api.options import Baseline, JobOptions
from benchbox.devices import CPU_PROVIDER, Device
from benchbox.errors import UsageError


def placeholders(options: JobOptions, threads: int) -> list[Device]:
    """A device for each -d, by which requests name what the fleet is to choose from.

    With 0 `threads` each has those that its worker offers.
    Raises UsageError for options that a fleet cannot follow.
    """
    mode = options.gpu
    refused = {
        "--cpus": options.cpus,
        "--provider": options.provider if "provider" in options.typed else None,
        "--arrival": options.load.arrival,
        "--sustained": options.load.sustained,
        "--profile": options.profile and "profile" in options.typed,
        "--baseline": options.against != Baseline(),
        "--mode, --cache, --tf32 and --conv-search": mode.mode
        or mode.cache
        or mode.tf32
        or mode.conv_search,
    }
    for option, value in refused.items():
        if value:
            raise UsageError(f"{option}: not with --scheduler; run it on the device's own machine")
    names = options.device or [""]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--device {twice[0]}: given twice")
    return [Device(name, CPU_PROVIDER, threads, "arm", url="fleet:") for name in names]
