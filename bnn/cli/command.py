"""The command `mtj-bnn`: choose a verb, read its options, run it, and print an error as one line.

Each verb has a file, `VERB_verb.py`, which is imported when the verb is chosen. It has an `EXAMPLE` and `add_options`,
which declares the options and sets the function that does the work. Only `demo`, `run`, `study` and `predict` import
torch.
"""

import argparse
import difflib
import os
import re
import signal
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, NoReturn

VERBS = {
    "demo": "Run the demo: from a write current to an energy/accuracy curve.",
    "device": "Show a junction and what follows from its declaration; without a name, list the presets.",
    "wer": "Print write error rates for currents or voltages and pulse widths.",
    "fit": "Fit a junction to measured write counts.",
    "setting": "Find the cheapest write setting that reaches target error rates under limits.",
    "map": "Solve write error rates on a grid and keep them in a file, or keep measured ones.",
    "die": "Draw a die from a process: its cells, its faults and its write error rates.",
    "fetch": "Download a data set, check it, and print its folder.",
    "run": "Train a recipe to its last epoch and test it once.",
    "study": "Run what is left of a study, a space over a recipe's fields; write its table and figure.",
    "predict": "Predict the classes of images with a packed model; with labels, count the right ones.",
}


OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # of torch, on the CPU and on a GPU


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a verb as an interrupt does, with its temporary files and its worker processes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Parameters
    ----------
    arguments : sequence of str, optional
        The words after `mtj-bnn`. By default those of the process.

    Returns
    -------
    int
        0; 2 after an error, which is one line on standard error; 130 after an interrupt, 143 after a SIGTERM.

    Notes
    -----
    The answer goes to standard output. Notes, and `written: PATH` for each file, go to standard error.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    name = f"mtj-bnn {words[0]}" if words and words[0] in VERBS else "mtj-bnn"
    if sys.stderr is None:  # closed, as by 2>&-
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:  # closed: the next file that is opened would take its place
        return _fail(name, "standard output is closed: send it to a file or to /dev/null.")
    try:
        with _terminable(), warnings.catch_warnings():
            warnings.showwarning = partial(_show_warning, name, set(), warnings.showwarning)
            code = _run(words)
            sys.stdout.flush()
    except BrokenPipeError:  # the reader has enough, as `| head` has
        _drain_output()
        return 0
    except Terminated:
        print(f"{name}: terminated", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    except MemoryError as error:
        return _fail(name, f"out of memory. {error}".rstrip())
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        _drain_output()
        return _fail(name, str(error))
    except RuntimeError as error:
        if not any(text in str(error) for text in OUT_OF_MEMORY):  # torch has no class for it
            raise
        return _fail(name, f"out of memory. {error}")
    return code


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise `Terminated` at the first SIGTERM; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():  # only that one has signals
        yield
        return

    def terminate(number: int, frame: object) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def parser_of(verb: str) -> argparse.ArgumentParser:
    """Return the parser of one verb; its file is imported."""
    module = import_module(f"bnn.cli.{verb}_verb")
    parser = _Parser(
        prog=f"mtj-bnn {verb}",
        description=VERBS[verb],
        epilog=f"example: {module.EXAMPLE}",
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.set_defaults(option_of={})
    parser.add_argument("--json", action="store_true", help="print JSON, in SI units")
    module.add_options(parser)
    return parser


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help with no line break inside an option."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are ValueErrors: one line, as all others."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}{'' if message.endswith('?') else '.'} See {self.prog} --help.")


def _run(words: Sequence[str]) -> int:
    if not words:
        print(_overview(), file=sys.stderr)
        return 2
    verb, *rest = words
    if verb in ("-h", "--help"):
        print(_overview())
    elif verb == "--version":
        from importlib.metadata import version

        print(f"mtj-bnn {version('mtj-bnn')}")
    elif verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ValueError(f"there is no verb {verb}.{hint} See mtj-bnn --help.")
    else:
        parser = parser_of(verb)
        options = _parsed(parser, _joined(rest))
        try:
            options.verb(options)
        except ValueError as error:
            raise ValueError(_as_options(error, parser, options.option_of)) from error
    return 0


def _overview() -> str:
    verbs = "\n".join(f"  {verb:10} {text}" for verb, text in VERBS.items())
    return f"""usage: mtj-bnn VERB [options]

From an STT-MRAM write current to error rates, the accuracy of a binarized network, and joules.

verbs:
{verbs}

options:
  -h, --help print this text and exit; mtj-bnn VERB --help lists the options of a verb
  --version  print the version and exit"""


def _parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse the options of a verb; ValueError names an unknown one and the nearest, before any that is missing."""
    known = [option for action in parser._actions for option in action.option_strings]
    for word in words:
        option = word.split("=")[0]
        if re.fullmatch(r"--[A-Za-z][\w-]*", option) and option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            parser.error(f"there is no option {option}" + (f". Did you mean {near[0]}?" if near else ""))
    options, rest = parser.parse_known_args(words)
    if rest:
        unit = re.fullmatch(r"[A-Za-zµ%]{1,4}(\^\d)?", rest[0])
        hint = ". A quantity and its unit are one word, as in 50uA" if unit else ""
        parser.error(f"unexpected argument {rest[0]!r}{hint}")
    return options


def _joined(words: Sequence[str]) -> list[str]:
    """Join a negative quantity to its option, so that `--current -4uA` is a wrong current and not an unknown option."""
    joined: list[str] = []
    for word in words:
        if re.match(r"-(\.?\d|inf|nan)", word) and joined and joined[-1].startswith("--"):
            joined[-1] += "=" + word
        else:
            joined.append(word)
    return joined


def _as_options(error: ValueError, parser: argparse.ArgumentParser, renamed: Mapping[str, str]) -> str:
    """Return the message of an error; an argument is named by its option, `renamed` where the names differ."""
    from mtjsim.checks import ArgumentError  # here, for it imports NumPy

    if not isinstance(error, ArgumentError):
        return str(error)
    options = {a.dest: a.option_strings[0] if a.option_strings else str(a.metavar) for a in parser._actions}
    options |= renamed
    return f"{options.get(error.argument, error.argument)} {error.problem}"


def _fail(name: str, message: str) -> int:
    print(f"{name}: error: {' '.join(message.splitlines())}", file=sys.stderr)
    return 2


def _show_warning(
    name: str, shown: set[str], otherwise: Callable[..., None], message: Warning | str, category: type, *place: Any
) -> None:
    """Print a doubt about a value as one line, once, and any other warning as usual."""
    if category.__name__ != "ImplausibleValue":
        otherwise(message, category, *place)
    elif (text := str(message).split(" If it is right,")[0]) not in shown:
        shown.add(text)
        print(f"{name}: warning: {text}", file=sys.stderr)


def _drain_output() -> None:
    """Discard what standard output does not take, so that the interpreter can exit without a second error."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
