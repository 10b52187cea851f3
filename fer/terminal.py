"""How the commands print."""

from rich.console import Console

console = Console()


def say(text: str) -> None:
    """Print a line as it is: paths stay whole, and brackets in them are not markup."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def counted(number: int, what: str) -> str:
    """Return a number with what it counts, in the singular for one."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
