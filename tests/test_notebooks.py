"""The saved notebooks: run whole, figures with a text, public names only, no progress bars."""

import html
import json
import re
from itertools import chain
from pathlib import Path

import pytest

import bnn
import bridge
import mtjsim

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
PUBLIC = {"mtjsim", "bridge", "bnn", "mtjsim.plots", "mtjsim.motion_plots", "bridge.plots", "bnn.plots"}


def code_of(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.fixture(params=NOTEBOOKS, ids=[path.stem[:2] for path in NOTEBOOKS])
def cells(request):
    return code_of(request.param)


def test_there_are_seven():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05", "06", "07"]


def test_every_figure_has_a_text_that_readers_get(cells):
    """As ``<img alt>`` beside the PNG: JupyterLab and nbconvert show no text with a PNG, and prefer the HTML."""
    figures = [
        (cell["metadata"].get("alt", ""), output["data"])
        for cell in cells
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    ]
    assert figures
    assert min(len(text) for text, _ in figures) > 100
    assert len({text for text, _ in figures}) == len(figures)
    for text, data in figures:
        png = "".join(data["image/png"]).strip()
        shown = "".join(data["text/html"])
        assert shown.startswith(f'<img alt="{html.escape(text)}" width=')
        assert png in shown


def test_it_was_run_whole_and_in_order_without_warnings_or_bars(cells):
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = list(chain.from_iterable(cell["outputs"] for cell in cells))
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    texts = ["".join(o.get("text", o.get("data", {}).get("text/plain", ""))) for o in outputs]
    assert not [text for text in texts if re.search(r"\d+(it|\w+)/s\]|\[00:\d\d", text)]
    assert all("execution" not in cell["metadata"] for cell in cells)  # times that change with every run


def test_a_notebook_is_for_a_reader(cells):
    source = "\n".join("".join(cell["source"]) for cell in cells)
    used = re.findall(
        r"^\s*from ((?:mtjsim|bridge|bnn)[\w.]*) import|^import ((?:mtjsim|bridge|bnn)[\w.]*)", source, re.M
    )
    assert {one or other for one, other in used} <= PUBLIC
    for package in (mtjsim, bridge, bnn):
        for name in set(re.findall(rf"\b{package.__name__}\.([A-Za-z_]\w*)", source)):
            assert name in dir(package), f"{package.__name__}.{name}"
    assert not re.search(r"^\s*assert |sys\.path|timeit|perf_counter", source, re.M)


def test_tables_have_few_columns(cells):
    """Six and the index fit a page; more wrap their headings."""
    tables = ["".join(o["data"]["text/html"]) for c in cells for o in c["outputs"] if "text/html" in o.get("data", {})]
    columns = [
        len(re.findall(r"<th>", re.search(r"<thead>(.*?)</tr>", t, re.S).group(1))) for t in tables if "<thead>" in t
    ]
    assert max(columns, default=0) <= 8  # two of the index
