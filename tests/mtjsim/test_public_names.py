"""Tab completion of the package shows its public names, those of the first use included, and nothing else."""

import mtjsim


def test_dir_is_the_public_names():
    assert dir(mtjsim) == sorted(mtjsim.__all__)
    assert {"rare_write_errors", "calibrate", "write_error_rate"} <= set(dir(mtjsim))


def test_every_public_name_can_be_reached():
    assert all(getattr(mtjsim, name) is not None for name in dir(mtjsim))
    assert set(mtjsim._ON_FIRST_USE) <= set(mtjsim.__all__)
