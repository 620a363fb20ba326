"""Family `sliding`: sliding windows and windows with an offset, as family `windows` otherwise."""

import windows

# size, slide, offset; None: left out
SHAPES = [
    ("10 seconds", "5 seconds", None), ("10 seconds", "4 seconds", None), ("6 seconds", "2 seconds", "1 second"),
    ("5 seconds", "5 seconds", "2 seconds"), ("1 minute", "20 seconds", None), ("3 seconds", "1 second", "500 milliseconds"),
    ("10 minutes", "7 minutes", "3 minutes"), ("2 seconds", "1500 milliseconds", None), ("10 seconds", "5 seconds", "-1 second"),
    ("1 hour", "15 minutes", "5 minutes"), ("10 seconds", "10 seconds", "-3 seconds"), ("4 seconds", "1 second", "0 seconds"),
]  # fmt: skip
SECONDS = {"second": 1, "seconds": 1, "milliseconds": 0.001, "minute": 60, "minutes": 60, "hour": 3600}


def draw(rng, index):
    """One case without its answers; every fifth over one micro-batch with `scope: batch`."""
    case = windows.draw(rng, index)
    size, slide, offset = rng.choice(SHAPES)
    shape = f"'{size}', '{slide}'" + (f", '{offset}'" if offset else "")
    window = f"window(ts, {shape})"
    case["query"] = case["query"].replace(case["parts"]["window"], window)
    case["parts"]["window"] = window
    number, unit = size.split()
    case["batches"] = windows.batches(rng, float(number) * SECONDS[unit], windows.delay_seconds(case["watermark"]["delay"]))
    if index % 5 == 4:
        case["watermark"], case["scope"] = None, "batch"
    return case
