"""Narrow terminals: tables that do not fit are written as lists, or in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

WIDE = 1000  # columns
NARROW = 60  # columns; below, rows are written as lists


def print_table(console: Console, table: Table) -> None:
    """Print a table; where its words do not fit side by side, as a list, a row after the other."""
    if _set_widths(console.width, table):
        console.print(table)
        return
    if table.title:
        console.print(table.title, highlight=False)
    heads = [Text.from_markup(str(column.header)).plain for column in table.columns]
    for first, *others in zip(*(column.cells for column in table.columns)):
        name = " ".join(filter(None, (heads[0], str(first))))
        console.print(f"[bold]{name}[/bold]", highlight=False)
        for head, cell in zip(heads[1:], others):
            if cell:
                line = Text.from_markup(": ".join(filter(None, (escape(head), str(cell)))))
                console.print(Padding(line, (0, 0, 0, 2), expand=False), highlight=False)


def print_rows(titles: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """The rows of an evaluation; a terminal shows as many columns at once as fit beside names."""
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no edge to break lines at
        console = Console(width=WIDE)
    for columns in _groups(console.width, titles, lines):
        print_table(console, _of_rows(titles, lines, columns))


def _groups(
    width: int, titles: Sequence[str], lines: Sequence[Sequence[str]]
) -> Iterator[Sequence[int]]:
    """Numbers of the columns that are shown at once; the first, of names, is in all."""
    if width < NARROW:
        yield range(len(titles))
        return
    group = [0]
    for column in range(1, len(titles)):
        wider = [*group, column]
        if len(group) > 1 and not _set_widths(width, _of_rows(titles, lines, wider)):
            yield group
            wider = [0, column]
        group = wider
    yield group


def _of_rows(
    titles: Sequence[str], lines: Sequence[Sequence[str]], columns: Sequence[int]
) -> Table:
    table = Table()
    for column in columns:
        table.add_column(titles[column], justify="right" if column else "left")
    table.columns[0].overflow = "fold"  # a name has no place to be broken at
    for line in lines:
        table.add_row(*(escape(line[column]) for column in columns))
    return table


def _set_widths(width: int, table: Table) -> bool:
    """Fix the width of each column so that no word is cut off; whether that can be.

    Left alone, rich cuts words of one column while another has room.
    """
    borders = 3 * len(table.columns) + 1
    least = [_longest_word(column, width) for column in table.columns]
    spare = width - borders - sum(least)
    if spare < 0:
        return False
    # Of the cells: titles may break at their words.
    longest = [max(map(cell_len, [*_texts(it)[1:], ""])) for it in table.columns]
    lacks = [most - needed for most, needed in zip(longest, least)]
    for lack, place in sorted((lack, place) for place, lack in enumerate(lacks)):
        more = max(0, min(spare, lack))  # those that lack least first
        table.columns[place].width = least[place] + more
        spare -= more
    return True


def _longest_word(column: Column, width: int) -> int:
    longest = max(cell_len(word) for text in _texts(column) for word in [*text.split(), ""])
    return min(longest, width // 2) if column.overflow == "fold" else longest


def _texts(column: Column) -> list[str]:
    return [Text.from_markup(str(it)).plain for it in (column.header, *column.cells)]
