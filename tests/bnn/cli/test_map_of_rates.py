"""`mtj-bnn map --counts` with a table of rates."""

from bnn.cli import main

TABLE = """# an invented table
current (uA),pulse_width [ns],direction,write_error_rate [%]
60,5,p_to_ap,1.2
60,5,ap_to_p,0.3
70,5,p_to_ap,0.1
"""


def test_the_map_verb_takes_a_table_of_rates(tmp_path, capsys):
    path = tmp_path / "rates.csv"
    path.write_text(TABLE)
    words = ["map", "--counts", str(path), "--out", str(tmp_path / "m.nc"), "--plot", str(tmp_path / "m.png")]
    assert main(words) == 0
    assert "intervals      none: rates without counts, 3 points" in capsys.readouterr().out
    assert main(words) == 0  # reused
    assert (tmp_path / "m.png").stat().st_size > 1000
