"""Prints what was measured as markdown, with ratios beside the aims."""

import collections

Row = collections.namedtuple("Row", "cell beside subject aim cpu_aim")
# One number of each server, where less is better.
Figure = collections.namedtuple("Figure", "name beside subject aim")


def rate_row(cell, beside, subject, cpu_aim):
    """A cell with its samples: the neighbour's first, then the subject's."""
    return Row(cell, beside, subject, cell.aim, cpu_aim)


def verdict(ratio, aim, more_is_better):
    """A ratio beside its aim, as text, and whether the aim was met."""
    if aim is None:
        return f"{ratio:.2f}", True
    met = ratio >= aim if more_is_better else ratio <= aim
    sign = "≥" if more_is_better else "≤"
    return f"{ratio:.2f} ({sign} {aim}: {'met' if met else '**missed**'})", met


def milliseconds(sample):
    return f"{sample.p50_us / 1000:.2f} / {sample.p99_us / 1000:.2f}"


def print_row(*fields):
    print("| " + " | ".join(str(field) for field in fields) + " |")


def print_head(*fields):
    print()
    print_row(*fields)
    print_row(*("---" for _ in fields))


def show_rates(names, rows):
    """A table of rates, latencies and CPU. Gives back whether all aims were met."""
    beside, subject = names
    print_head(
        "what", "clients", f"{beside} req/s", f"{subject} req/s", "ratio",
        f"{beside} p50 / p99 ms", f"{subject} p50 / p99 ms",
        f"{beside} CPU µs/req", f"{subject} CPU µs/req", "ratio",
    )  # fmt: skip
    all_met = True
    for row in rows:
        rate, rate_met = verdict(row.subject.rate / row.beside.rate, row.aim, True)
        cpu, cpu_met = verdict(row.subject.cpu_us / row.beside.cpu_us, row.cpu_aim, False)
        all_met &= rate_met and cpu_met
        print_row(
            row.cell.name, row.cell.clients, f"{row.beside.rate:,.0f}", f"{row.subject.rate:,.0f}", rate,
            milliseconds(row.beside), milliseconds(row.subject),
            f"{row.beside.cpu_us:.1f}", f"{row.subject.cpu_us:.1f}", cpu,
        )  # fmt: skip
    return all_met


def show_figures(names, figures):
    """A table of single numbers. Gives back whether all aims were met."""
    print_head("what", *names, "ratio")
    all_met = True
    for figure in figures:
        ratio, met = verdict(figure.subject / figure.beside, figure.aim, False)
        all_met &= met
        print_row(figure.name, f"{figure.beside:.1f}", f"{figure.subject:.1f}", ratio)
    return all_met
