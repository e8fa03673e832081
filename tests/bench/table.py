"""The one table that the benches fill."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement."""

    work: str
    measured: str
    ratio: str
    bar: str = ""


def show(rows: list[Row]) -> None:
    """Print the rows."""
    table = Table(title="argy bench: ratios within this run on this machine", title_justify="left")
    for heading in ("work", "measured", "ratio", "bar"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(row.work, row.measured, row.ratio, row.bar)
    Console(width=130).print(table)
