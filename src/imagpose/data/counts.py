"""Counts beside the published ones, so that a user sees at once whether a data set is whole. Source: own."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Count:
    """A number of something.

    Attributes:
        what: of what.
        found: here.
        published: in papers or in the public lists; None where nobody printed one.
        note: why the two may differ.
    """

    what: str
    found: int
    published: int | None = None
    note: str = ""


def counts_table(counts: list[Count]) -> Table:
    """One row per count; "ok" where it is the published one."""
    table = Table("", "here", "published", "")
    for count in counts:
        published, verdict = "", ""
        if count.published is not None:
            published = f"{count.published:,}"
            verdict = "ok" if count.found == count.published else f"differs{': ' if count.note else ''}{count.note}"
        table.add_row(count.what, f"{count.found:,}", published, verdict)
    return table
