"""What a user should look at in a table. Runs in `sluice init`."""

from collections.abc import Iterator, Sequence

from pipeline.init.decision import LABEL, Decision, short
from pipeline.init.profiles import TEXT, Profile

FEWEST_TO_BALANCE = 10  # rows of a class; fewer tell nothing, however much they count


def hints(decisions: Sequence[Decision]) -> Iterator[str]:
    """Yields a sentence for each thing that is odd about a column."""
    for decision in decisions:
        name, profile = decision.profile.name, decision.profile
        if decision.warning:
            yield f"{name}: {decision.warning}."
        if profile.kind == TEXT and (taken := profile.taken_for_missing):
            yield (
                f"{name}: {sum(taken.values())} cells that say {', '.join(sorted(taken))} are taken for missing, as "
                "they are among numbers elsewhere; if they are categories, write missing numbers otherwise."
            )
        if profile.num_extreme:
            yield (
                f"{name}: {profile.num_extreme} cells are no finite 32-bit numbers; a run refuses such rows, or keeps "
                "them aside with example_gen.bad_rows: quarantine."
            )
        if decision.role == LABEL:
            yield from _class_hints(profile)


def is_worth_balancing(label: Profile) -> bool:
    """Whether the rarest class is rare, and has rows enough to count more than others."""
    rarest, most = min(label.counts.values()), max(label.counts.values())
    return most >= 5 * rarest >= 5 * FEWEST_TO_BALANCE


def _class_hints(label: Profile) -> Iterator[str]:
    name = min(label.counts, key=lambda value: label.counts[value])
    rarest, most = label.counts[name], max(label.counts.values())
    if is_worth_balancing(label):
        yield f"{label.name}: class {short(name)} has {rarest} rows, the largest {most}; training balances them."
    if rarest < FEWEST_TO_BALANCE:
        rows = "1 row" if rarest == 1 else f"{rarest} rows"
        yield f"{label.name}: class {short(name)} has {rows}, too few to learn or to judge."
