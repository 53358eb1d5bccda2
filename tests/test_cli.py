"""The command line: what it prints, trains, leaves and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata

import pytest

import fnopt
from fnopt.cli import main
from fnopt.cli.catalogue import FAMILIES
from fnopt.cli.mathematics import equations, formula
from fnopt.cli.optimizer import SCHEDULES, make_optimizer
from fnopt.registry import TITLES, state_bytes

pytestmark = pytest.mark.beside_optax


def columns(line):
    return sum(not unicodedata.combining(letter) for letter in line)


@pytest.fixture
def printed(capsys, monkeypatch):
    """What the command prints, at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        capsys.readouterr()
        main(list(map(str, arguments)))
        return capsys.readouterr().out

    return run


def test_the_command_alone_says_what_there_is(printed):
    text = printed()
    assert text == printed("--help")
    commands = ("animate", "train", "sweep", "optimizers", "schedules")
    assert all(f"fnopt {command}" in text for command in commands)
    assert max(map(columns, text.splitlines())) <= 80


@pytest.mark.parametrize("module", ["fnopt", "fnopt.cli"])
def test_the_version_needs_no_more_than_the_core(module):
    code = (
        "import runpy, sys; sys.argv = ['fnopt', '--version'];"
        f"runpy.run_module('{module}', run_name='__main__');"
        "print(sorted({'flax', 'tyro', 'rich', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, modules = done.stdout.splitlines()
    assert version.startswith("fnopt 0.") and modules == "[]"


def test_optimizers_are_listed_by_family_with_their_bytes(printed):
    lines = printed("optimizers").splitlines()
    titles = [line for line in lines if line.endswith(")") and "--family" in line]
    assert titles == [f"{TITLES[family]} (--family {family})" for family in FAMILIES]
    rows = [line.split() for line in lines if line.startswith("  ") and not line.startswith("   ")]
    assert sorted(row[0] for row in rows) == list(fnopt.optimizers())
    assert {row[0]: row[1] for row in rows}["adamw"] == f"{state_bytes('adamw'):g}" == "8"
    assert max(map(columns, lines)) <= 80
    of_signs = printed("optimizers", "--family", "sign")
    assert "  lion " in of_signs and "  adamw " not in of_signs


def test_all_about_an_optimizer(printed):
    text = printed("optimizers", "adamw")
    assert text.startswith("adamw(learning_rate, b1=0.9, b2=0.999, eps=1e-08,")
    for part in (
        "\n    Δθₜ = -ηₜ (m̂ₜ / (√(v̂ₜ + ε̄) + ε) + λ θₜ₋₁)\n",
        "\n  weight_decay   strength of the weight decay, λ ≥ 0.\n",
        "\nWhen to use it\n  The default for transformers",
        "arXiv:1711.05101",
        "\nState: 8 bytes per float32 parameter.\n",
        "\n  fnopt.adamw(learning_rate=…)\n  fnopt train --optimizer adamw\n",
    ):
        assert part in text
    # What needs other arguments cannot be trained by its name.
    assert "fnopt train" not in printed("optimizers", "dpsgd")


@pytest.mark.parametrize("kind", ["optimizer", "schedule"])
def test_no_markup_is_left_and_lines_fit(printed, kind):
    for name in getattr(fnopt, f"{kind}s")():
        for line in printed(f"{kind}s", name).splitlines():
            assert not any(sign in line for sign in ("\\", "`", "::", "\1", "\2")), line
            assert columns(line) <= 80 or line.startswith(("  >>> ", "  ... ", "  ", name)), line


def test_schedules_are_listed_and_explained(printed):
    text = printed("schedules")
    assert all(f"\n  {name} " in f"\n{text}" for name in fnopt.schedules())
    assert "fnopt train --schedule takes: constant, linear, cosine" in text
    assert "ηₜ = η₀ ((1 - α) (1/2 (1 + cos π min(t, T) / T))ᵖ + α)" in printed(
        "schedules", "cosine_decay_schedule"
    )


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\theta_{t-1} \in [0, 1)", "θₜ₋₁ ∈ [0, 1)"),
        (r"\frac{r_t}{(1 - \sqrt{\beta_2})\,\lVert s_t \rVert_1}", "rₜ/((1 - √β₂) ‖sₜ‖₁)"),
        (r"\sqrt[3]{\nu_t}", "³√νₜ"),
        (r"(1 - s)\ln\beta_T + s\ln\beta_0", "(1 - s) ln β_T + s ln β₀"),
        (r"\bar{\epsilon}^{t+1}", "ε̄ᵗ⁺¹"),
        (r"\max_{i < t} x", "max_(i < t) x"),
    ],
)
def test_a_formula_is_text(latex, text):
    assert formula(latex) == text


def test_equations_of_an_alignment_and_of_cases_are_lines():
    assert equations(r"a &= b, \qquad c = d \\ e &= f") == ["a = b", "c = d", "e = f"]
    assert equations(r"\eta & t < W") == ["η, t < W"]


def test_train_says_what_it_reached_and_leaves_log_and_picture(printed, tmp_path):
    out = tmp_path / "new" / "out"
    text = printed("train", "--epochs", 4, "--out", out)
    *_, accuracy, speed, drawing, files = text.splitlines()
    assert text.startswith("digits: 10 classes, inputs of 8 by 8 by 1, 1437 examples to train on")
    assert accuracy.startswith("validation accuracy 0.9") and accuracy.endswith("after 4 epochs")
    assert speed.endswith("steps per second") and drawing == f"drawing {out / 'digits.png'}"
    assert files == f"picture: {out / 'digits.png'}, log: {out / 'digits.jsonl'}"
    assert "\033" not in text
    records = [json.loads(line) for line in (out / "digits.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == list(range(1, 5))
    assert records[-1]["val_accuracy"] > 0.9
    assert (out / "digits.png").stat().st_size > 10_000


@pytest.mark.parametrize("schedule", [name for name in SCHEDULES if name != "plateau"])
def test_every_schedule_begins_as_it_says_and_ends_lower(schedule):
    rate = make_optimizer("sgd", schedule, 0.5, 100).learning_rate
    value = rate if callable(rate) else lambda count: rate
    start = 0.0 if schedule == "warmup_cosine" else 0.5
    assert float(value(0)) == start
    assert schedule == "constant" or float(value(99)) < 0.1


def test_a_rate_not_given_is_the_optimizers_own_where_it_has_one():
    rates = {"prodigy": 1.0, "adam": 3e-3, "sgd": 0.1, "lion": 3e-4, "lbfgs": 1.0, "bfgs": 1.0}
    for optimizer, rate in rates.items():
        assert make_optimizer(optimizer, "constant", None, 9).learning_rate == rate
    assert make_optimizer("prodigy", "constant", 0.5, 9).learning_rate == 0.5


def test_the_plateau_schedule_watches_the_metric():
    tx = make_optimizer("adam", "plateau", 0.1, 9, plateau=4)
    assert [part.monitor for part in tx.transforms[1:]] == ["metric"] * 2
    assert [part.patience for part in tx.transforms[1:]] == [2, 4]


def test_the_weight_decay_is_that_of_the_options():
    assert make_optimizer("adamw", "cosine", 0.1, 9, weight_decay=0.5).weight_decay == 0.5


MISTAKES = {
    "trian": "there is no command 'trian'; did you mean train? fnopt --help lists all",
    "--verson": "there is no option '--verson'; did you mean --version?",
    "train --learning-rat 3": "no option '--learning-rat'; did you mean --learning-rate?",
    "train --batchsize=3": "did you mean --batch-size? fnopt train --help lists all",
    "train digits": "fnopt train takes no 'digits'; its options begin with --",
    "train --epochs x": "--epochs must be a whole number, got 'x'",
    "train --lr fast": "--learning-rate must be a number, got 'fast'",
    "train --batch-size x": "--batch-size must be a whole number or all, got 'x'",
    "train --epochs": "--epochs takes one value, N; got none",
    "train --epochs 3 4": "--epochs takes one value, N; got 2: 3 4",
    "train --resume maybe": "--resume must be no, yes or override, got 'maybe'",
    "train --optimizer adamv": "no optimizer 'adamv'; did you mean adam? fnopt optimizers lists",
    "train --optimizer momentum": "there is no optimizer 'momentum'; it is heavy_ball here",
    "train --lr -1,2": "--learning-rate must be a number, got '-1,2'",
    "train --optimizer dpsgd": "'dpsgd' takes l2_norm_clip, learning_rate, noise_multiplier",
    "train --optimizer polyak_sgd": "'polyak_sgd' takes no learning rate: train with it in Python",
    "train --optimizer sgd --weight-decay 1": "'sgd' has no weight decay; 'sgdw' has",
    "train --optimizer yogi --weight-decay 1": "'yogi' has no weight decay; 'adamw' has",
    "train --weight-decay -1": "--weight-decay must lie in [0, inf), got -1",
    "train --schedule cosin": "no schedule 'cosin'; did you mean 'cosine'",
    "train --lr -1": "fnopt: --learning-rate must lie in [0, inf), got -1",
    "train --batch-size 5000": "fnopt: --batch-size must be from 1 to the 1437 examples",
    "train --epochs 0": "fnopt: --epochs must be at least 1, got 0",
    "train --log-every 0": "fnopt: --log-every must be at least 1, got 0",
    "train --early-stop -1": "fnopt: --early-stop must lie in [0, inf), got -1",
    "train --resume": "fnopt: --resume needs --checkpoint-dir",
    "train --precision float31": "no precision 'float31'; did you mean 'float32'",
    "train --loss sqared_error": "no loss 'sqared_error'; did you mean squared_error?",
    "train --dataset digits --data x.npz": "either --dataset digits or --data x.npz, not both",
    "train --task regression": "--task is for --data",
    "animate beal": "there is no problem 'beal'; did you mean beale? fnopt animate --help lists",
    "animate --optimizers adam,sdg": "no optimizer 'sdg'; did you mean sgd? fnopt optimizers lists",
    "animate --optimizers momentum": "there is no optimizer 'momentum'; it is heavy_ball here",
    "animate --optimizers ,": "--optimizers must be names of optimizers with commas between them",
    "animate --optimizers dpsgd": "dpsgd needs l2_norm_clip, noise_multiplier, seed",
    "animate --lr fast": "--learning-rates must be a rate, rates with commas between them, a band",
    "animate --lr 1:0.1:log5": "a band such as 1e-3:1:log16, tune or usual, got '1:0.1:log5'",
    "animate --lr 0": "--learning-rates must be in (0, inf), got 0",
    "animate --starts 0": "--starts must be a number of starts, or points such as 1,1 or 1,1:-2",
    "animate --steps 0": "--steps must be at least 1, got 0",
    "animate --noise -1": "--noise must be in [0, inf), got -1",
    "animate --out race.jpg": "must end in .gif, .html, .mp4 or .png, got 'race.jpg'",
    "animate --theme blue": "--theme must be light or dark, got 'blue'",
    "animate --seconds 0": "--seconds must lie in (0, inf), got 0",
    "optimizers adamv": "there is no optimizer 'adamv'; did you mean adam?",
    "optimizers --family signs": "there is no family 'signs'; did you mean sign?",
    "schedules step": "there is no schedule 'step'; did you mean step_decay?",
}


@pytest.mark.parametrize("arguments", MISTAKES)
def test_a_mistake_is_answered_in_a_sentence(monkeypatch, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as error:
        main(arguments.split())
    message = str(error.value)
    assert message.startswith("fnopt: ") and MISTAKES[arguments] in message
    assert "exception" not in message and len(message) < 400


def test_an_unwritable_folder_is_named_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="file"):
        main(["train", "--epochs", "10000", "--out", str(tmp_path / "file" / "out")])


def test_what_is_not_installed_is_named_with_the_cure(monkeypatch):
    monkeypatch.setitem(sys.modules, "tyro", None)
    with pytest.raises(SystemExit, match=r"tyro.*; the command line needs pip install 'fnopt\["):
        main(["optimizers"])


def test_animate_prints_the_table_and_writes_the_page(printed, tmp_path):
    out = tmp_path / "new" / "race.html"
    options = ["--starts", "-1,0.5:1,1", "--learning-rates", "1e-3:1e-2:log2", "--steps", 5]
    text = printed("animate", "matyas", "--optimizers", "sgd, heavy_ball", *options, "--out", out)
    head, titles, sgd, heavy_ball, picture = text.splitlines()
    assert head == "matyas: 5 steps from 2 starts, medians over the starts"
    assert titles.split()[:2] == ["optimizer", "rate"]
    assert sgd.split()[:2] == ["sgd", "0.01"] and heavy_ball.split()[:2] == ["heavy_ball", "0.01"]
    assert picture.startswith(f"picture: {out}, 0.") and picture.endswith(" MB")
    assert '"starts":[[-1.0,0.5],[1.0,1.0]]' in out.read_text("utf-8")


@pytest.mark.parametrize("command", ["animate"])
def test_help_fits_80_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code in (0, None)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 10 and max(map(columns, lines)) <= 80


def test_a_run_stops_early_and_resumes(printed, tmp_path):
    options = ["--plateau", 0, "--early-stop", 0, "--accumulate", 2, "--precision", "bfloat16"]
    options += ["--out", tmp_path / "out", "--checkpoint-dir", tmp_path / "kept"]
    # Without a rate to speak of nothing is learnt: the second epoch is no better than the first.
    options += ["--lr", 1e-12, "--schedule", "constant", "--no-plot", "--log-every", 15]
    text = printed("train", "--epochs", 1, *options)
    assert "after 1 epoch\n" in text and "\nstep 15  loss" in text
    assert not (tmp_path / "out" / "digits.png").exists()
    first = (tmp_path / "out" / "digits.jsonl").read_text()
    assert "ended by early stopping" in printed("train", "--epochs", 9, "--resume", *options)
    lines = (tmp_path / "out" / "digits.jsonl").read_text().splitlines()
    assert lines[0] == first.splitlines()[0] and 1 < len(lines) < 9
    records = (tmp_path / "out" / "digits-steps.jsonl").read_text().splitlines()
    steps = [json.loads(record)["step"] for record in records]
    assert steps == list(range(15, 22 * len(lines) + 1, 15))
    with pytest.raises(SystemExit, match=r"go on from them by --resume, or give another --check"):
        printed("train", "--epochs", 9, *options)
    with pytest.raises(SystemExit, match="of another model or optimizer"):
        printed("train", "--epochs", 9, "--resume", "--optimizer", "sgd", *options)
