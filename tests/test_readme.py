"""What the README shows runs, and gives the numbers that it gives."""

import re
from pathlib import Path

import mtjsim
from bnn.cli.command import VERBS

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_the_lines_run_and_their_comments_are_true(capsys):
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    names = {}
    exec(block, names)
    shown = re.findall(r"mtjsim\.write_error_rate\(device, (.*?)\) +# ([0-9.e-]+)", block)
    assert len(shown) == 2
    for arguments, value in shown:
        rate = mtjsim.write_error_rate(names["device"], **eval(f"dict({arguments})"))
        digits = len(value.split("e")[0].lstrip("0.").replace(".", ""))
        assert f"{rate:.{digits - 1}e}" == f"{float(value):.{digits - 1}e}"
    assert capsys.readouterr().out


def test_it_names_every_verb():
    (listed,) = re.findall(r"`mtj-bnn (demo \|.*?)`", README)
    assert listed.split(" | ") == list(VERBS)


def test_every_file_it_links_to_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[1] / target).exists(), target
