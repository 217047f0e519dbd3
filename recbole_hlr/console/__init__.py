"""What a person sees while work goes on; terminals, notebooks and quiet are known here alone."""

from recbole_hlr.console.display import Display, clock
from recbole_hlr.console.messages import (
    OWN,
    ConsoleHandler,
    console_handlers,
    console_logging,
    interactive_logging,
    is_quiet,
    set_console_level,
)
from recbole_hlr.console.screen import Row, in_notebook, say, shortened
from recbole_hlr.console.streams import Unfailing, occupy_closed_descriptors, unfailing_streams

__all__ = [
    "OWN",
    "ConsoleHandler",
    "Display",
    "Row",
    "Unfailing",
    "clock",
    "console_handlers",
    "console_logging",
    "in_notebook",
    "interactive_logging",
    "is_quiet",
    "occupy_closed_descriptors",
    "say",
    "set_console_level",
    "shortened",
    "unfailing_streams",
]
