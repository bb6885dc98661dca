"""Pairs of junctions as weights: A + B s, faults, spread, repair, and currents against a dense solve of the network."""

import numpy as np
import pytest

from bridge import PairArray, Population, Process, Spread, WriteSetting, junctions_of
from bridge.crossbar.wires import wired_currents
from mtjsim.presets import load_preset
from physics import approx, within_binomial

G_P, G_AP = 1e-4, 4e-5
UNIT = G_P - G_AP


def array(shape=(5, 7), *, seed=1, **others):
    return PairArray.of(shape, conductance_p=G_P, conductance_ap=G_AP, seed=seed, **others)


def signs(shape, seed=0):
    return np.random.default_rng(seed).choice([-1.0, 1.0], shape)


def test_nominal_pairs_are_their_signs():
    pairs = array()
    s = signs(pairs.shape)
    assert pairs.weights(s) == approx(s)
    assert (pairs.offset, pairs.gain) == (approx(np.zeros(pairs.shape), abs=1e-12), approx(np.ones(pairs.shape)))
    v = np.linspace(0.0, 0.1, 7)
    assert pairs.currents(v, s) == approx(UNIT * s @ v)


@pytest.mark.parametrize(
    ("fault", "junction", "expected"),
    [
        # w(+1), w(-1) in units of G_P - G_AP, by hand
        ("short", 0, ((3 * G_P - G_AP) / UNIT, (3 * G_P - G_P) / UNIT)),
        ("short", 1, ((G_P - 3 * G_P) / UNIT, (G_AP - 3 * G_P) / UNIT)),
        ("open", 0, (-G_AP / UNIT, -G_P / UNIT)),
        ("open", 1, (G_P / UNIT, G_AP / UNIT)),
        ("stuck_p", 0, (1.0, 0.0)),
        ("stuck_p", 1, (0.0, -1.0)),
        ("stuck_ap", 0, (0.0, -1.0)),
        ("stuck_ap", 1, (1.0, 0.0)),
    ],
)
def test_each_fault_of_each_junction_of_a_pair(fault, junction, expected):
    """A process in which every junction has the fault, put into one of the two by hand."""
    given = {"short_conductance": 3 * G_P} if fault == "short" else {}
    faulty = array((1, 1), process=Process(**{f"{fault}_rate": 1.0}, **given))
    G = array((1, 1)).conductances.copy()
    G[junction] = faulty.conductances[junction]
    pair = PairArray(G, G_P, G_AP)
    assert (pair.weights([[1]])[0, 0], pair.weights([[-1]])[0, 0]) == approx(expected, abs=1e-12)
    assert pair.offset + pair.gain == approx(pair.weights([[1]]))
    assert pair.offset - pair.gain == approx(pair.weights([[-1]]), abs=1e-12)


def test_counts_of_faults_and_the_same_die_again():
    process = Process(short_rate=0.01, short_conductance=3 * G_P, open_rate=0.02)
    pairs = array((200, 100), process=process, seed=3)
    G = pairs.conductances
    assert within_binomial(int((G == 3 * G_P).all(axis=1).sum()), 40_000, 0.01, tests=2)
    assert within_binomial(int((G == 0).all(axis=1).sum()), 40_000, 0.02, tests=2)
    assert np.array_equal(G, array((200, 100), process=process, seed=3).conductances)
    assert not np.array_equal(G, array((200, 100), process=process, seed=4).conductances)


def test_spread_is_log_normal_with_the_nominal_mean():
    """80,000 junctions: the mean of ln G to 1e-3, its deviation to 1 %, at a false alarm of 1e-6."""
    G = array((200, 200), spread=0.2, seed=5).conductances
    z = np.log(G[:, 0] / G_P).ravel()
    assert abs(z.mean() + 0.02) < 5 * 0.2 / 80_000**0.5
    assert abs(z.std() / 0.2 - 1) < 5 / (2 * 80_000) ** 0.5
    assert np.exp(z).mean() == pytest.approx(1.0, abs=5 * 0.2 / 80_000**0.5)
    assert G[:, 1] / G[:, 0] == approx(np.full(G[:, 0].shape, G_AP / G_P))


def test_junctions_of_a_population():
    device = load_preset("arm_2021")
    setting = WriteSetting(pulse_width=25e-9, current=60e-6)
    population = Population(device, Spread(resistance_area_product_d2d=0.05), setting)
    process = Process(short_rate=0.1, short_conductance=1e-2, population=population)
    pairs = PairArray.of((20, 20), conductance_p=1 / 6e3, conductance_ap=1 / 20e3, process=process, seed=1)
    die = process.die((2, 20, 20), seed=1)
    working = np.ones(800, bool)
    working[die.faulty] = False
    assert pairs.conductances[:, 0].ravel()[working] == approx(1 / die.cells.resistance_p[working])
    with pytest.raises(ValueError, match="spread must be 0 where the process has a population"):
        PairArray.of((2, 2), conductance_p=2e-4, conductance_ap=1e-4, process=process, spread=0.1, seed=1)


def test_shorts_are_found_and_disconnected():
    process = Process(short_rate=0.05, short_conductance=3 * G_P)
    pairs = array((40, 30), process=process, spread=0.1, seed=2)
    found = pairs.shorted(2 * G_P)
    assert np.array_equal(found, (pairs.conductances == 3 * G_P).all(axis=1).any(axis=0))
    cut = pairs.disconnected(found)
    s = signs(pairs.shape)
    assert (cut.weights(s)[found] == 0).all()
    assert np.array_equal(cut.weights(s)[~found], pairs.weights(s)[~found])
    assert "disconnected" in repr(cut)
    assert (cut.disconnected(~found).gain == 0).all()


def solved(pairs, v, s, r_row, r_column):
    """Kirchhoff's law, node by node, in a dense matrix; one vector of voltages."""
    outputs, rows = pairs.shape
    G = np.zeros((rows, 2 * outputs))
    for o in range(outputs):
        for i in range(rows):
            up = 0 if s[o, i] > 0 else 1
            if pairs.connected[o, i]:
                G[i, 2 * o] = pairs.conductances[0, up, o, i]
                G[i, 2 * o + 1] = pairs.conductances[1, 1 - up, o, i]
    columns = 2 * outputs
    node = {}
    for kind in "rc":
        for i in range(rows):
            for c in range(columns):
                node[kind, i, c] = len(node)
    M, b = np.zeros((len(node), len(node))), np.zeros(len(node))

    def link(one, other, g):
        for x, y in ((one, other), (other, one)):
            M[node[x], node[x]] += g
            M[node[x], node[y]] -= g

    for i in range(rows):
        for c in range(columns):
            link(("r", i, c), ("c", i, c), G[i, c])
            if c:
                link(("r", i, c - 1), ("r", i, c), 1 / r_row)
            if i:
                link(("c", i - 1, c), ("c", i, c), 1 / r_column)
        M[node["r", i, 0], node["r", i, 0]] += 1 / r_row
        b[node["r", i, 0]] += v[i] / r_row
    for c in range(columns):
        M[node["c", rows - 1, c], node["c", rows - 1, c]] += 1 / r_column
    potential = np.linalg.solve(M, b)
    read = [potential[node["c", rows - 1, c]] / r_column for c in range(columns)]
    return np.array(read[0::2]) - np.array(read[1::2])


@pytest.mark.parametrize("shape", [(1, 1), (3, 4), (4, 9)])
def test_currents_against_a_dense_solve_of_the_network(shape):
    process = Process(short_rate=0.1, short_conductance=3 * G_P, open_rate=0.1)
    pairs = array(shape, process=process, spread=0.3, seed=7)
    pairs = pairs.disconnected(pairs.shorted(2 * G_P)) if shape == (4, 9) else pairs
    s, v = signs(shape), np.random.default_rng(1).uniform(-0.1, 0.1, (5, shape[1]))
    found = wired_currents(pairs, v, s, row_segment=40.0, column_segment=15.0)
    expected = np.array([solved(pairs, each, s, 40.0, 15.0) for each in v])
    assert found == approx(expected, rel=1e-9, abs=1e-15)
    nearly = wired_currents(pairs, v, s, row_segment=1e-6, column_segment=1e-6)
    assert nearly == approx(pairs.currents(v, s), rel=1e-6, abs=1e-13)
    assert np.array([solved(pairs, each, s, 1e-6, 1e-6) for each in v]) == approx(
        pairs.currents(v, s), rel=1e-4, abs=1e-11
    )


def test_capacity():
    assert junctions_of([(48, 196), (10, 48)]) == 2 * (48 * 196 + 480) == 19776
    assert junctions_of([(48, 196), (10, 48)], capacity=20_000) == 19776
    with pytest.raises(ValueError, match=r"layers must fit on a die of 20,000 junctions, got 20,188"):
        junctions_of([(49, 196), (10, 49)], capacity=20_000)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: PairArray.of((5, 7), conductance_p=4e-5, conductance_ap=1e-4, seed=1),
            "conductance_ap must be less than",
        ),
        (lambda: PairArray.of((5, 7), conductance_p=-1, conductance_ap=1e-4, seed=1), "conductance_p must be"),
        (lambda: array((5, 7, 2)), r"shape must be \(outputs, inputs\)"),
        (lambda: array((0, 7)), "shape must"),
        (lambda: array(spread=5), "Is it 5 %"),
        (lambda: array(spread=-0.1), "spread must be"),
        (lambda: array(seed=-1), "seed must be"),
        (lambda: array(process="clean"), "process must be of type Process"),
        (lambda: array().weights(np.zeros((5, 7))), "signs must be -1 or"),
        (lambda: array().weights(np.ones((7, 5))), "signs must be of the shape of the array"),
        (lambda: array().currents(np.ones(5), np.ones((5, 7))), "voltages must be one for each of the 7 rows"),
        (lambda: array().disconnected(np.ones((5, 7))), "pairs must be true or false"),
        (lambda: array().shorted(0.0), "limit must be"),
        (lambda: PairArray(np.ones((2, 2, 3)), G_P, G_AP), "conductances must be of shape"),
        (lambda: PairArray(-np.ones((2, 2, 1, 1)), G_P, G_AP), "conductances must be finite and >= 0"),
        (
            lambda: wired_currents(array(), np.ones(7), np.ones((5, 7)), row_segment=0.0, column_segment=1.0),
            "row_segment must be",
        ),
        (
            lambda: wired_currents(array(), np.ones(6), np.ones((5, 7)), row_segment=1.0, column_segment=1.0),
            "voltages must be one for each",
        ),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()
