"""Write CLAIMS.md: each claim with its source, command, result, verdict, from the stored records alone.

python notebooks/claims.py [FILE]   # CLAIMS.md by default; nothing is run

A claim is a function of a stored result: it returns the result in words, and an interval for the number that the claim
is about. The verdict follows from that interval and the bound of the claim, see `Claim.verdict`.
"""

import sys
from pathlib import Path

from mtjsim.files import write_whole

sys.path.insert(0, str(Path(__file__).parent))
from claim_rules import (
    Claim,
    Stored,
    brackets,
    cheaper,
    corrected,
    decades,
    deviation,
    gap,
    gap_of_best,
    halved,
    largest_gap,
    level_of,
    modes,
    of_the_memory,
    quotient,
    ratio,
    spread_of_products,
    threshold_ratio,
    weaker_activations,
)

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "notebooks" / "results"
WORKS = ("activation_", "two_phase", "weight_storage")
DATA = {  # --data-dir
    **dict.fromkeys(("batch_norm", "error_modes", "write_errors", *WORKS), "MNIST_FOLDER"),
    **dict.fromkeys(
        ("activation_writes_cifar10", "activation_writes_classes", "weight_storage_cifar10"), "CIFAR10_FOLDER"
    ),
    "weight_storage_fashion": "FASHION_MNIST_FOLDER",
    "wer_accuracy": "tests/golden",
}
HEAD = """# Claims

Written by `make claims` from the records in `notebooks/results`; do not edit. `make results` says which of them are out
of date with the code. Intervals are 95 % intervals.

* *Confirmed*: the whole interval keeps the bound. *Not confirmed*: the whole interval breaks it. *Undecided*: the
  bound is between the ends of the interval, or there is no record.
* A range is the lowest and the highest of the measurements named; a verdict needs all of them on one side.
* A bracket is the last step of a bisection over write error rates: at its lower end fewer than half of the trainings
  failed, at its upper end half or more. It has no confidence level; the counts at both ends are given. A verdict needs
  the whole bracket on one side.
* A number that is solved has no interval; its error is that of the solver.
"""
SECTIONS = {  # title -> how the names of its stored results start
    "Activations written with errors": ("activation_",),
    "MRAM first, another RAM afterwards": ("two_phase",),
    "Weights without error correction": ("weight_storage", "factor_two", "junction_to_memory"),
    "Write errors are not bit flips": ("write_errors", "weight_words", "error_modes"),
    "Speed": ("bench",),
}
REST = "Solvers, corrections, curves"


OURS = "this project"
ACTIVATIONS = "Tzoufras, Gajek, Walker, arXiv:1905.10927, US 2020/0311523"
PHASES = "Gajek, Tzoufras, US 2020/0193282"
STORED = "Hirtzlin et al., arXiv:1908.04085"
ROY = "Roy, Wang, Raghunathan, arXiv:2308.02024 (15 to 22 times, of a system with leakage)"
RATE = "memory.activations.error_rate"
HOW = {"as it is": "clean.accuracy", "BatchNorm re-estimated": "clean_corrected.accuracy"}
CODES = {  # of words, by what the tables call them
    "none": "without a code",
    "parity": "with parity",
    "{'limit': 4.0, 'name': 'range'}": "with a range check",
    "secded": "with SECDED",
}


def _trained(rate):
    return {"memory.activations.errors": "independent", RATE: rate}


def _dies(arm, rate, correct="none"):
    return {"arm": arm, "test.run.memory.weights.error_rate": rate, "test.run.correct": correct}


def _words(format, errors, protection):
    return {"arm": format, "memory.words.errors": errors, "memory.words.protection": protection}


def _switch(arm, rate, until):
    return {"arm": arm, "memory.words.error_rate": rate, "phase.0.until": until}


def _kind(kind, errors):
    return {"memory.words.holds": str([kind]), "memory.words.errors": errors}


def _products(errors):
    """Return the four trainings of two_phase_iterations: where, and words times iterations of 128 images."""
    return {
        f"{words:,} words in {iterations} iterations": (
            {"model.hidden": f"[{hidden}]", "data.train_images": images, "memory.words.errors": errors},
            words * iterations,
        )
        for hidden, words in ((32, 794 * 32), (256, 794 * 256))  # weights of 784-hidden-10, without biases
        for images, iterations in ((6000, 47), (30000, 235))
    }


OF_WORKS = (
    Claim(
        "LeNet-4 with binary inner layers reaches 99.2 % on MNIST in three epochs (99.23 % in the code of the source)",
        ACTIVATIONS,
        "activation_writes_pair",
        level_of("clean.accuracy", {RATE: 1e-9}, "trained without errors"),
        least=99.2,
        bound="at least 99.2 %",
    ),
    Claim(
        "Errors of 5 % in the activations of a training cost at most 0.2 points in a test without errors (LeNet-4)",
        ACTIVATIONS,
        "activation_writes_pair",
        gap("clean.accuracy", {RATE: 1e-9}, {RATE: 0.05}, "trained without minus trained with 5 %, tested without"),
        most=0.2,
        bound="at most 0.2 points lost",
    ),
    *(
        Claim(
            f"Errors of 20 % in the activations of a training cost at most 0.2 points in a test without errors, {how} "
            "(LeNet-4, 2 epochs)",
            ACTIVATIONS,
            "activation_writes",
            gap(value, _trained(1e-9), _trained(0.2), "trained without minus trained with 20 %"),
            most=0.2,
            bound="at most 0.2 points lost",
        )
        for how, value in HOW.items()
    ),
    *(
        Claim(
            "Unequal write currents (1 and 20 %) cost at most half a point against equal ones of the same mean rate, "
            f"{how}",
            ACTIVATIONS,
            "activation_writes",
            largest_gap(
                value,
                _trained(0.105),
                {"(1 %, 20 %)": _trained("[0.01, 0.2]"), "(20 %, 1 %)": _trained("[0.2, 0.01]")},
                "equal minus",
            ),
            most=0.5,
            bound="at most 0.5 points",
        )
        for how, value in HOW.items()
    ),
    *(
        Claim(
            f"Trained with unequal currents {pair}, a network is better with its errors than without, {how}",
            OURS,
            "activation_writes",
            gap("independent.accuracy", _trained(rates), _trained(rates), f"with minus without, {how}", minus=clean),
            least=0.0,
            bound="at least 0 points",
        )
        for pair, rates in (("(1 %, 20 %)", "[0.01, 0.2]"), ("(20 %, 1 %)", "[0.2, 0.01]"))
        for how, clean in (("as it is", "clean.accuracy"), ("re-estimated", "clean_corrected.accuracy"))
    ),
    *(
        Claim(
            f"Two layers with a current each, {ours}, cost at most half a point against 1e-9 in both, re-estimated",
            ACTIVATIONS,
            "activation_writes_layers",
            gap(
                "clean_corrected.accuracy",
                {"arm": "real_layers_0"},
                {"arm": f"real_layers_{arm}"},
                f"both at 1e-9 minus {ours}",
            ),
            most=0.5,
            bound="at most 0.5 points lost",
        )
        for ours, arm in (("conv 1 %, linear 20 %", "1_20"), ("conv 20 %, linear 1 %", "20_1"))
    ),
    Claim(
        "Without real layers, errors of 5 % in the activations of a training cost at most 0.2 points, re-estimated",
        ACTIVATIONS,
        "activation_writes_layers",
        gap(
            "clean_corrected.accuracy",
            {"arm": "all_binary_0"},
            {"arm": "all_binary_5"},
            "trained without minus trained with 5 %, all layers binary",
        ),
        most=0.2,
        bound="at most 0.2 points lost",
    ),
    Claim(
        "A binary network for two cores reaches 67.5 % on CIFAR-10 (67.2 % of smtj_pbnn_sim 0.4.0)",
        OURS,
        "activation_writes_cifar10",
        level_of("clean.accuracy", {RATE: 1e-9}, "trained without errors"),
        least=67.5,
        bound="at least 67.5 %",
    ),
    *(
        Claim(
            f"Activation errors of {100 * rate:g} % in a training cost at most a point (CIFAR-10, {how})",
            ACTIVATIONS,
            "activation_writes_cifar10",
            gap(value, {RATE: 1e-9}, {RATE: rate}, f"without minus with {100 * rate:g} %"),
            most=1.0,
            bound="at most 1 point lost",
        )
        for rate in (0.05, 0.2)
        for how, value in HOW.items()
    ),
    *(
        Claim(
            f"With {fewer} classes of CIFAR-10 a training tolerates a higher error rate than with {more}",
            ACTIVATIONS,
            "activation_writes_classes",
            decades(
                f"log10_{RATE}",
                {f"{n} classes": {"arm": f"classes_{n}"} for n in (fewer, more)},
                "a tenth of what was learned is lost at",
            ),
            least=0.0,
            bound="at least 0 decades",
        )
        for fewer, more in ((2, 10), (5, 10), (2, 5))
    ),
    *(
        Claim(
            f"Activations in MRAM written at 1e-9 take less energy in a training than in SRAM of {size} (LeNet-4)",
            f"{OURS} (a batch has 59 kB)",
            "activation_joules",
            of_the_memory(
                {"sram.kind": kind, RATE: 1e-9},
                "MRAM over SRAM",
                sram=("training.joules_in_sram", {"sram.kind": kind, RATE: 1e-9}),
                over="mram",
            ),
            most=1.0,
            bound="a ratio of at most 1",
        )
        for kind, size in (("32kB", "32 kB"), ("1MB", "1 MB"))
    ),
    Claim(
        "Writing activations at 5 % in place of 1e-9 halves their energy in a training (LeNet-4, with driver)",
        OURS,
        "activation_writes",
        quotient(
            "training.joules_with_driver",
            "training.joules_with_driver",
            "5 % over 1e-9",
            _trained(0.05),
            _trained(1e-9),
            also={
                "junctions alone": ("training.joules_device", "training.joules_device"),
                "the whole system": ("training.joules_system", "training.joules_system"),
            },
        ),
        most=0.5,
        bound="a ratio of at most 0.5",
    ),
    *(
        Claim(
            f"Bits that are stored inverted save a tenth of the energy of the activations at 20 %, {scope}",
            OURS,
            "activation_writes",
            quotient(
                f"inverted.joules_{column}",
                f"overwrite.joules_{column}",
                "joules inverted over joules as they are",
                _trained(0.2),
            ),
            most=0.9,
            bound="a ratio of at most 0.9",
        )
        for scope, column in (("junctions alone", "device"), ("with driver", "with_driver"))
    ),
    *(
        Claim(
            f"A training of 203,264 words in 235 iterations converges at error rates above {least:g}, in all of three "
            f"formats with four codes ({errors} errors)",
            f"{PHASES} (a threshold above 1e-3, 1e-5 or 1e-7; format and code are not in the claim)",
            "two_phase_thresholds",
            brackets(
                {
                    f"{format} {code}": _words(format, errors, protection)
                    for format in ("fp32", "bf16", "int8")
                    for protection, code in CODES.items()
                },
                least,
                "where half of the trainings fail",
            ),
            least=least,
            bound=f"at least {least:g}",
        )
        for errors in ("independent", "overwrite")
        for least in (1e-7, 1e-5, 1e-3)
    ),
    *(
        Claim(
            f"A weight that is found wrong and read as zero raises the accuracy ({format}, parity, overwrite errors of "
            "1e-3)",
            PHASES,
            "two_phase_codes",
            gap(
                "clean.accuracy",
                {"arm": f"{format}_overwrite_1e-3", "memory.words.protection": "parity"},
                {"arm": f"{format}_overwrite_1e-3", "memory.words.protection": "none"},
                "parity minus none",
            ),
            least=0.0,
            bound="at least 0 points",
        )
        for format in ("fp32", "bf16", "int8")
    ),
    Claim(
        "int8 words with parity and independent errors of 1e-6 cost at most a point",
        PHASES,
        "two_phase_codes",
        gap(
            "clean.accuracy",
            {"arm": "int8_clean", "memory.words.protection": "parity"},
            {"arm": "int8_independent_1e-6", "memory.words.protection": "parity"},
            "without errors minus with them",
        ),
        most=1.0,
        bound="at most 1 point lost",
    ),
    *(
        Claim(
            f"{shares} of the iterations can be in the error-prone RAM (fp32, parity, overwrite errors of {rate:g}, "
            f"{'above' if rate > 3e-4 else 'below'} the threshold)",
            PHASES,
            "two_phase_switch",
            largest_gap(
                "clean.accuracy",
                lambda second: {**second, "memory.words.error_rate": 1e-17},
                {f"{100 * until:g} %": _switch("sram", rate, until) for until in untils},
                "without errors minus with them, at most",
            ),
            most=0.5,
            bound="at most 0.5 points lost",
        )
        for rate in (1e-4, 1e-3)
        for shares, untils in (("20, 40, 60 and 80 %", (0.2, 0.4, 0.6, 0.8)), ("95 %", (0.95,)))
    ),
    *(
        Claim(
            "The rest of the iterations may be in the same MRAM, written at 1e-6, in place of another RAM "
            f"({rate:g} in the first {100 * until:g} %)",
            "US 11,586,906",
            "two_phase_switch",
            gap(
                "clean.accuracy",
                _switch("sram", rate, until),
                _switch("two_settings_1e-6", rate, until),
                "another RAM minus another setting",
            ),
            most=0.2,
            bound="at most 0.2 points lost",
        )
        for rate, until in ((1e-4, 0.8), (1e-3, 0.8), (1e-3, 0.2))
    ),
    *(
        Claim(
            f"Adam's moments tolerate ten times the error rate of the weights ({errors} errors, fp32, parity)",
            "this project, after arXiv:2308.02024",
            "two_phase_kinds",
            threshold_ratio(_kind("optimizer", errors), _kind("weights", errors), "moments over weights"),
            least=10.0,
            bound="a ratio of at least 10",
        )
        for errors in ("independent", "overwrite")
    ),
    *(
        Claim(
            f"Error rate x words x iterations is constant at the threshold, to a factor of 3 (fp32, {errors} errors)",
            OURS,
            "two_phase_iterations",
            spread_of_products(_products(errors), "threshold x words x iterations"),
            most=3.0,
            bound="a factor of at most 3",
        )
        for errors in ("independent", "overwrite")
    ),
    Claim(
        "Words of a training in MRAM, written at 1e-9 after a read, take a fifteenth of their energy in SRAM of 1 MB",
        ROY,
        "two_phase_joules",
        of_the_memory(
            {"arm": "mram_read_first", "memory.words.error_rate": 1e-9},
            "SRAM over MRAM",
            sram=("training.joules_system", {"arm": "sram", "memory.words.error_rate": 1e-9}),
            over="sram",
        ),
        least=15.0,
        bound="a ratio of at least 15",
    ),
    Claim(
        "An error rate of 1e-4 in place of 1e-9 saves half of the energy of the writes of a training (with driver)",
        "Roy, Wang, Raghunathan, arXiv:2308.02024 (more than twice)",
        "two_phase_joules",
        quotient(
            "training.joules_with_driver",
            "training.joules_with_driver",
            "1e-9 over 1e-4, plain",
            {"arm": "mram_plain", "memory.words.error_rate": 1e-9},
            {"arm": "mram_plain", "memory.words.error_rate": 1e-4},
        ),
        least=2.0,
        bound="a ratio of at least 2",
    ),
    Claim(
        "In a training, a read before each write saves more energy than an error rate of 1e-4 in place of 1e-9",
        OURS,
        "two_phase_joules",
        quotient(
            "training.joules_with_driver",
            "training.joules_with_driver",
            "read first at 1e-9 over plain at 1e-4",
            {"arm": "mram_read_first", "memory.words.error_rate": 1e-9},
            {"arm": "mram_plain", "memory.words.error_rate": 1e-4},
        ),
        most=1.0,
        bound="a ratio of at most 1",
    ),
    Claim(
        "Bit error rates of 0.1 % in stored binary weights have little impact: the mean of 50 dies",
        STORED,
        "weight_storage",
        gap("clean.accuracy", _dies("plain", 1e-3), _dies("plain", 1e-3), "clean minus 1e-3", minus="run.accuracy"),
        most=0.1,
        bound="at most 0.1 points lost",
    ),
    Claim(
        "The worst of 50 such dies loses at most a quarter of a point",
        STORED,
        "weight_storage",
        gap("clean.accuracy", _dies("plain", 1e-3), _dies("plain", 1e-3), "clean minus worst die", minus="run.worst"),
        most=0.25,
        bound="at most 0.25 points lost",
    ),
    *(
        Claim(
            f"At 5 % there is a way by which the worst of 50 dies loses at most 1.5 points ({which})",
            "Hirtzlin et al., arXiv:1904.03652 (4 % with training)",
            "weight_storage",
            gap_of_best(
                ("clean.accuracy", _dies("plain", 0.05)),
                "run.worst",
                {
                    f"{arm}, {words}": (_dies(arm, 0.05, correct), f"{choice}.accuracy")
                    for arm in arms
                    for correct, words, choice in (
                        ("none", "as it is", "choice"),
                        ("rescale", "rescaled", "choice_rescaled"),
                    )
                },
                "the plain network without errors minus the worst die",
            ),
            most=1.5,
            bound="at most 1.5 points lost",
        )
        for which, arms in (
            ("all weights may be wrong", ("plain", "trained", "margin", "clipped")),
            ("or the first layer is protected", ("plain", "trained", "margin", "clipped", "protected")),
        )
    ),
    Claim(
        "A training with 5 % errors in the weights gains over thresholds that are rescaled in closed form",
        OURS,
        "weight_storage",
        gap("run.accuracy", _dies("trained", 0.05), _dies("plain", 0.05, "rescale"), "trained minus rescaled"),
        least=0.0,
        bound="at least 0 points",
    ),
    Claim(
        "Trained with 5 % errors and rescaled for 10 %, it gains at 10 % over thresholds rescaled in closed form alone",
        OURS,
        "weight_storage",
        gap(
            "run.accuracy",
            _dies("trained", 0.1, "rescale"),
            _dies("plain", 0.1, "rescale"),
            "trained and rescaled minus rescaled",
        ),
        least=0.0,
        bound="at least 0 points",
    ),
    Claim(
        "A first layer without errors raises the accuracy at 5 % (MLP, without rescaling)",
        OURS,
        "weight_storage",
        gap("run.accuracy", _dies("protected", 0.05), _dies("plain", 0.05), "first layer protected minus plain"),
        least=0.0,
        bound="at least 0 points",
    ),
    *(
        Claim(
            f"Bit error rates of 0.1 % in stored binary weights cost at most {most:g} points on average ({network})",
            STORED,
            folder,
            gap("clean.accuracy", _dies(arm, 1e-3), _dies(arm, 1e-3), "clean minus 1e-3", minus="run.accuracy"),
            most=most,
            bound=f"at most {most:g} points lost",
        )
        for network, folder, arm, most in (
            ("LeNet-4, first and last layer real", "weight_storage_networks", "lenet4", 0.1),
            ("conv net whose first layer errs too", "weight_storage_networks", "conv", 0.1),
            ("Fashion-MNIST, MLP", "weight_storage_fashion", "plain", 0.2),
            ("CIFAR-10, residual network", "weight_storage_cifar10", "plain", 0.5),
        )
    ),
    Claim(
        "The 500 weights of a small first layer cost accuracy at 5 % (conv net)",
        OURS,
        "weight_storage_networks",
        gap("run.accuracy", _dies("conv_protected", 0.05), _dies("conv", 0.05), "first layer protected minus not"),
        least=0.0,
        bound="at least 0 points",
    ),
    *(
        Claim(
            f"Write errors that keep the old bit do less harm than as many wrong bits at random ({what})",
            OURS,
            "write_errors",
            gap(
                "overwrite.accuracy",
                {"arm": arm},
                {"arm": arm},
                "overwrite minus equal effective rate",
                minus="equal effective rate.accuracy",
            ),
            least=0.0,
            bound="at least 0 points",
        )
        for what, arm in (
            ("activations, 20 %, trained with them", "activations_20"),
            ("fp32 words in training, 1e-4, range check", "words_1e-4"),
            ("weights stored over random bits, 10 %", "stored_10"),
        )
    ),
)
WORDS_RATE = "log10_memory.words.error_rate"


def _both_errors(network):
    names = ("overwrite", "independent")
    return {name: {"arm": network, "memory.words.errors": name, "memory.words.protection": "none"} for name in names}


WORDS = "fp32 words that keep the old bit where a write fails tolerate, in a training, ten times the error rate of"
CLAIMS = (
    Claim(
        "Write error rates of axisymmetric writes are exact to 1e-6, relative",
        OURS, "wer_accuracy", deviation("axial"), most=1e-6, bound="at most 1e-6",
    ),
    Claim(
        "Curves of the write error rate against the pulse width are exact to 5e-6, relative",
        OURS, "wer_accuracy", deviation("curves"), most=5e-6, bound="at most 5e-6",
    ),
    Claim(
        "Writes on the full sphere are exact to 1e-4, relative",
        OURS, "wer_accuracy", deviation("oblique"), most=1e-4, bound="at most 1e-4",
    ),
    *(
        Claim(
            f"{WORDS} words with independent errors ({network} weights)",
            OURS, "weight_words", decades(WORDS_RATE, _both_errors(network), "one point is lost at"),
            least=1.0, bound="at least 1 decade",
        )
        for network in ("real", "binary")
    ),
    Claim(
        "For each failed write of an activation, overwrite errors do less harm than independent errors (LeNet-4, 20 %)",
        OURS, "error_modes", modes("full rate", 1), least=0.0, bound="at least 0 points",
    ),
    Claim(
        "For each wrong bit they do more harm (LeNet-4, 20 %)",
        OURS, "error_modes", modes("same share", -1), least=0.0, bound="at least 0 points",
    ),
    Claim(
        "Rescaled BatchNorm raises the accuracy of a network in a memory with weight errors (MNIST)",
        OURS, "batch_norm", corrected("signs", 0.0, 0.1), least=0.0, bound="at least 0 points",
    ),
    Claim(
        "Rescaled BatchNorm raises the accuracy of a network that was trained with weight errors and runs without",
        OURS, "batch_norm", corrected("signs", 0.1, 0.0), least=0.0, bound="at least 0 points",
    ),
    Claim(
        "For errors of activations it gains less than one point",
        OURS, "batch_norm", corrected("activations", 0.0, 0.1), most=1.0, bound="at most 1 point",
    ),
    Claim(
        "Writing again after a read reaches 1e-9 with less energy than SECDED",
        OURS, "junction_to_memory", cheaper("retry", "SECDED"), most=1.0, bound="a ratio of at most 1",
    ),
    Claim(
        "SECDED reaches 1e-9 with less energy than one strong pulse",
        OURS, "junction_to_memory", cheaper("SECDED", "strong pulse"), most=1.0, bound="a ratio of at most 1",
    ),
    *(
        Claim(
            f"Weights without error correction at 1e-3 take half the energy of a memory at 1e-9, reached by {way} "
            "(same cell, the whole system, writes alone)",
            "Hirtzlin et al., arXiv:1908.04085 (up to a factor of two)",
            "factor_two", rule, least=2.0, bound="a ratio of at least 2",
        )
        for way, rule in (
            ("a strong pulse", halved("strong pulse")),
            ("SECDED", halved("SECDED", **{"with a code of no energy, not the assumed one": "SECDED free code"})),
            ("writing again after a read", halved("retry", **{"with 2 pulses": "retry 2", "if both do": "retry both"})),
        )
    ),
    Claim(
        "Activations of the digits network can be written with half the energy of 1e-9, for less than one point",
        OURS, "demo", weaker_activations, most=0.5, bound="at most 0.5",
    ),
    *OF_WORKS,
    Claim(
        "Binary matrix products on packed bits are 6 times as fast as torch's float32",
        OURS, "bench", ratio("test_binary_matrix_product_against_mkl", "times_mkl_to_bits"),
        least=6.0, bound="at least 6",
    ),
    Claim(
        "Binary convolutions on packed bits are 4 times as fast as torch's float32",
        OURS, "bench", ratio("test_binary_convolution_against_conv2d", "times_conv2d_to_bits"),
        least=4.0, bound="at least 4",
    ),
    Claim(
        "Evaluations with activation errors on packed bits are 7.5 times as fast as in torch (LeNet-4)",
        OURS, "bench", ratio("test_evaluation_of_lenet4_on_packed_bits", "times_torch_draw"),
        least=7.5, bound="at least 7.5",
    ),
    Claim(
        "Errors take at most 1 % of a training step of LeNet-4",
        OURS, "bench", ratio("test_share_of_a_lenet4_training_step", "by_key"), most=0.01, bound="at most 0.01",
    ),
    Claim(
        "Trajectories in single precision are 100 times as fast as cmtj's",
        OURS, "bench", ratio("test_beside_cmtj", "times_faster_single"), least=100.0, bound="at least 100",
    ),
)  # fmt: skip


def line_of(claim, results):
    """Return the cells of a claim: claim, source, command, result, verdict."""
    stored = Stored(results / claim.folder)
    command = command_of(claim.folder)
    if stored.record is None:
        older = (results / claim.folder / "run.json").exists()
        why = "the stored table is of an older version" if older else "not measured yet"
        return claim.text, claim.source, f"`{command}`", "none", f"undecided: {why}"
    try:
        found = claim.find(stored)
    except FileNotFoundError as error:
        return claim.text, claim.source, f"`{command}`", "none", f"undecided: there is no {Path(error.filename).name}"
    except LookupError as error:
        return claim.text, claim.source, f"`{command}`", "none", f"undecided: {error}"
    verdict, why = claim.verdict(found)
    return claim.text, claim.source, f"`{command}`", found.words, f"{verdict}: {why}"


def command_of(folder):
    """Return the command that makes a stored result."""
    out = f"--out notebooks/results/{folder}"
    if folder == "bench":
        return "make bench"
    if folder == "demo":
        return f"mtj-bnn demo {out}"
    names = [name for name in DATA if folder == name or folder.startswith(f"{name}_")]
    data = f" --data-dir {DATA[max(names, key=len)]}" if names else ""
    return f"mtj-bnn study {folder} {out}{data}"


def section_of(claim):
    """Return the title under which a claim stands."""
    found = [title for title, starts in SECTIONS.items() if claim.folder.startswith(starts)]
    return found[0] if found else REST


def text_of(results=RESULTS, claims=CLAIMS):
    """Return CLAIMS.md."""
    head = "| claim | source | command | result | verdict |\n|---|---|---|---|---|\n"
    text = HEAD
    for title in (*SECTIONS, REST):
        cells = (line_of(claim, results) for claim in claims if section_of(claim) == title)
        lines = ("| " + " | ".join(cell.replace("|", "/") for cell in own) + " |\n" for own in cells)
        text += f"\n## {title}\n\n{head}{''.join(lines)}"
    return text


if __name__ == "__main__":
    write_whole(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "CLAIMS.md", text_of().encode())
