"""Plan of a run: its default effort, and what options make of it."""

from collections.abc import Sequence

from benchbox.analysis import stats
from benchbox.analysis.limits import Limit
from benchbox.api import load_options, parsing
from benchbox.api.options import JobOptions, UnderLoad
from benchbox.sampling.plan import Plan, processes_for
from benchbox.specs import Case

# Of 30 ms bursts of at least three calls two fit where one of 60 ms did, with as much scatter each.
PUBLISHED = Plan(precision=0.03, burst_s=0.03, min_calls=3, sessions=3, aim=2 / 3)
MOST_IMAGES = 7.0  # of 224x224 that one counts for: 18 detectors are run within ten minutes
LONGER = 60.0, 5.5  # seconds in all or for each case, of comparisons and GPUs
ON_GPU = Plan(precision=0.03, sessions=3)
COMPARED = Plan(precision=0.015, sessions=3)  # of ratios, whose interval is always printed
QUICK = Plan(precision=0.05, min_rounds=stats.MIN_ROUNDS, burst_s=0.02, min_calls=2)


def plan(options: JobOptions, cases: Sequence[Case], *, is_gpu: bool = False) -> Plan:
    """The plan that options ask for; max_time grows with the cases and, off GPUs, their images.

    On a GPU a load is left out: there it can only be a default that nobody typed.
    """
    margin, limits = options.margin, parsing.limits(options.fail_on)
    published = COMPARED if margin is not None else ON_GPU if is_gpu else PUBLISHED
    base = QUICK if options.quick else published
    least_s, each_s = (3.0, 0.5) if options.quick else (45.0, 3.4) if base is PUBLISHED else LONGER
    default_s = max(least_s, each_s * (len(cases) if is_gpu else sum(map(_images, cases))))
    precision = parsing.share(options.precision) if options.precision else base.precision
    max_time_s = parsing.seconds(options.max_time) if options.max_time else default_s
    few = options.quick or margin is not None or is_gpu
    sessions = base.sessions if few else max(base.sessions, processes_for(precision, max_time_s))
    ordinary = Plan(
        precision=precision,
        max_time_s=max_time_s,
        min_rounds=base.min_rounds,
        burst_s=base.burst_s,
        min_calls=base.min_calls,
        seed=options.seed,
        sessions=options.sessions or sessions,
        margin=None if margin is None else parsing.share(margin, "--margin"),
        limits=tuple(each.most for each in limits if each.figure == "slower"),
        percentiles=_percentiles(options, limits),
        cooldown_s=parsing.seconds(options.cooldown, "--cooldown") if options.cooldown else 0.0,
        aim=base.aim,
    )
    return load_options.adapt(
        ordinary,
        UnderLoad() if is_gpu else options.load,
        len(cases),
        precise=options.precision is not None or options.quick,
        timed=options.max_time is not None,
        typed=options.typed,
    )


def _percentiles(options: JobOptions, limits: Sequence[Limit]) -> tuple[float, ...]:
    """The percentiles that are asked for, and those that a limit is about."""
    judged = filter(None, (limit.percentile for limit in limits))
    return tuple(sorted({*parsing.percentiles(options.percentiles), *judged}))


def _images(case: Case) -> float:
    """How many images of 224x224 the one of a case takes as long as; 1 for other inputs."""
    shapes = [tensor.shape for tensor in case.inputs[:1]]
    sizes = [shape[2:] for shape in shapes if len(shape) == 4 and shape[1] == 3]
    return min(MOST_IMAGES, max([1.0, *(height * width / 224**2 for height, width in sizes)]))
