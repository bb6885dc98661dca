"""The words of the demo: singular and plural, losses and gains."""

import pytest

from bnn.studies import demo
from bnn.studies.curve_point import CLEAN, WITH_ERRORS, CurvePoint, Interval
from bnn.studies.curve_result import EnergyAccuracyCurve
from bridge import WriteSetting, operating_point
from mtjsim import load_preset

DEVICE = load_preset("arm_2021")
POINT = operating_point(DEVICE, WriteSetting(current=50e-6, pulse_width=10e-9))


def curve(*, loss=(0.0, 0.0, 0.0), with_errors=0.9, networks=2, draws=2):
    rows = [
        CurvePoint(POINT, training, Interval(mean, mean - 0.1, mean + 0.1), Interval(*loss), networks, draws, ())
        for training, mean in ((CLEAN, 0.9), (WITH_ERRORS, with_errors))
    ]
    return EnergyAccuracyCurve(Interval(0.92, 0.9, 0.94), tuple(rows))


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ((0.002, -0.001, 0.005), "loses 0.20 points [-0.10, 0.50] by it"),
        ((-0.0008, -0.004, 0.002), "gains 0.08 points [-0.20, 0.40] by it"),
        ((-0.0008, -0.0016, 0.0), "gains 0.08 points [0.00, 0.16] by it"),
        ((-0.00001, -0.00001, 0.00001), "loses 0.00 points [0.00, 0.00] by it"),
    ],
)
def test_a_negative_loss_is_a_gain(loss, words):
    of = curve(loss=loss)
    assert words in demo.summary(of, of.points[0])


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (0.95, "Training with the errors helps most at 1.5 % of them: 95.0 % against 90.0 %."),
        (0.85, "Training with the errors helps at no point; it is closest at 1.5 % of them: 85.0 % against 90.0 %."),
    ],
)
def test_a_training_that_does_not_help_is_not_said_to(accuracy, words):
    assert demo.summary(curve(with_errors=accuracy), None).endswith(words)


@pytest.mark.parametrize(
    ("networks", "draws", "words"),
    [(2, 1, "2 networks × 1 error draw a point"), (1, 3, "1 network × 3 error draws a point")],
)
def test_the_figure_counts_in_singular_and_plural(monkeypatch, networks, draws, words):
    titles = []
    monkeypatch.setattr("matplotlib.figure.Figure.suptitle", lambda figure, text, **style: titles.append(text))
    demo.draw(curve(networks=networks, draws=draws), None, DEVICE, "arm_2021", "digits", 10e-9, 300.0)
    assert words in titles[0]
