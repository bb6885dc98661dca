"""What the shared helpers of the tests promise."""

from physics import approx, damped_junction, junction, within_binomial


def test_approx_is_relative():
    assert approx(1e-14, rel=1e-9) != 2e-14
    assert approx([1e-14, 0.0]) != [1e-14, 1e-15]
    assert approx(1.0) == 1 + 0.9e-6
    assert approx(1.0) != 1 + 1.1e-6
    assert approx(1.0, abs=1e-3) == 1.0009
    assert approx(1.0, rel=1e-2, abs=1e-3) == 1.009


def test_within_binomial_leaves_half_the_alarm_on_each_side():
    """Of 10 throws of a coin 10 heads have probability 1/1024: inside at an alarm of 1e-3, outside at 3e-3."""
    assert within_binomial(10, 10, 0.5, alarm=1e-3)
    assert not within_binomial(10, 10, 0.5, alarm=3e-3)
    assert not within_binomial(0, 10, 0.5, alarm=3e-3)


def test_junctions_are_what_they_say():
    one, other = junction(45.0, 0.1, 0.3), damped_junction(45.0, 0.02, 0.1)
    assert (one.thermal_stability(), other.thermal_stability()) == approx((45, 45), rel=1e-9)
    assert one.critical_current("p_to_ap") == approx(1.3 * 30e-6, rel=1e-9)
    assert one.characteristic_time() == approx(2e-9, rel=1e-9)
    assert other.anisotropy_field == approx(0.27, rel=1e-9)
    for device in (one, other):
        assert device.stray_field == approx((0.0, 0.0, 0.1 * device.anisotropy_field), rel=1e-9)
