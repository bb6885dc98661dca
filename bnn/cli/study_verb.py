"""`mtj-bnn study`: run what is left of a study, and write its table and figure."""

import argparse
import logging
from pathlib import Path
from typing import Any

from bnn.cli.shared_options import add_data_dir
from bnn.cli.typed import announce, checked_data_dir, fields_of, print_json, whole_numbers
from mtjsim.files import made_folder

EXAMPLE = "mtj-bnn study digits_grid --out digits_grid"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.set_defaults(verb=study)
    text = "name of a study, or a TOML file; without it the studies are listed"
    parser.add_argument("study", nargs="?", metavar="STUDY", help=text)
    parser.add_argument(
        "--out", metavar="FOLDER", help="folder for results, table.csv, summary.csv, figure.png, run.json"
    )
    text = "a field of its recipe, the same at every point, as in data.name=fashion-mnist; may be given several times"
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help=text)
    text = "address of the storage, as in postgresql://USER@HOST/DATABASE, for many machines; default: a file in --out"
    parser.add_argument("--storage", metavar="URL", help=text)
    add_data_dir(parser)
    parser.add_argument("--workers", metavar="COUNT", help="processes of this machine; default: one for each core")
    parser.add_argument(
        "--status", action="store_true", help="print what is finished and what is left, and run nothing"
    )


def study(options: argparse.Namespace) -> None:
    """Run what is left of a study."""
    from bnn.recipes.recipe import title_of
    from bnn.studies.space import list_studies

    if options.study is None:
        _list({name: title_of("bnn.studies", name) for name in list_studies()}, as_json=options.json)
        return
    counts = whole_numbers(options, workers=1)
    if options.out is None:
        raise ValueError("--out is missing: the folder of the results, as in --out digits_grid.")
    logging.basicConfig(format="%(message)s", level=logging.INFO if options.status else logging.WARNING)
    from bnn.studies.space import load_study
    from bnn.studies.status import status_of

    declared = load_study(options.study).replaced(fields_of(options.set))
    if options.status:
        _print_status(status_of(declared, out=options.out, storage=options.storage), as_json=options.json)
        return
    checked_data_dir("", options.data_dir)  # whose data it is has `run_study`
    with made_folder(Path(options.out), option="--out"):
        from bnn.studies.run import run_study

        result = run_study(declared, out=options.out, storage=options.storage, data_dir=options.data_dir, **counts)
    announce(*result.files)
    if options.json:
        print_json(
            {"study": declared.name, "identity": declared.identity, "summary": result.summary, "rows": result.rows}
        )
        return
    print(declared.title)
    print(table_of(result.summary))


def _list(titles: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(titles)
        return
    width = max(map(len, titles))
    for name, title in titles.items():
        print(f"{name:{width}}  {title}")


def _print_status(status: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(status)
        return
    print(f"{status['study']}: {status['finished']} of {status['points']} points finished, {status['running']} at work")
    for error, count in status["failed"].items():
        print(f"failed {count} times: {error}")


def table_of(summary: list[dict[str, Any]]) -> str:
    """Return a summary as text: means with their intervals, columns of equal width."""
    if not summary:
        return "no point is finished"
    ends = (".low", ".high")
    names = [name for name in summary[0] if not (name.endswith(ends) and name.rpartition(".")[0] in summary[0])]
    texts = [names] + [[_cell(row, name) for name in names] for row in summary]
    widths = [max(len(line[k]) for line in texts) for k in range(len(names))]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) for line in texts)


def _cell(row: dict[str, Any], name: str) -> str:
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, float):
        return str(value)
    low, high = row.get(f"{name}.low", ""), row.get(f"{name}.high", "")
    if name.endswith(".accuracy"):
        text = f"{100 * value:.2f} %"
        return text if low == "" else f"{text} [{100 * low:.2f}, {100 * high:.2f}]"
    return f"{value:.4g}" if low in ("", value) else f"{value:.4g} [{low:.4g}, {high:.4g}]"
