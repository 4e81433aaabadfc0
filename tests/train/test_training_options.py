"""What the command line says of training: remembered, by size, and refused where it makes no sense."""

from __future__ import annotations

import pytest

from ehrfm_core.errors import UserError
from ehrfm_core.study.manifest import Manifest, Stage
from train.arguments import parser
from train.training_options import command_line, training_settings

TOKENIZED = Stage("", {"max_tokens": 64}, {})


def options(*words: object):
    return parser().parse_args(["pretrain", "study", *map(str, words)])


def settings(*words: object, before: dict[str, object] | None = None):
    manifest = Manifest("a", ["a"], stages={"tokenize": TOKENIZED})
    return training_settings(manifest, options(*words), Stage("", before, {}) if before else None)


def test_the_longest_sequence_is_the_tokenizers_longest_window() -> None:
    assert settings().max_tokens == 64


def test_what_is_left_out_is_as_before() -> None:
    before = {"size": "small", "learning_rate": 1e-4, "steps": 7, "seed": 3, "version": "0", "from": {}}
    found = settings("--patience", 2, before=before)
    assert (found.size, found.learning_rate, found.steps, found.seed) == ("small", 1e-4, 7, 3)
    assert found.patience == 2


def test_a_new_size_brings_its_own_rate_batch_and_steps() -> None:
    before = {"size": "tiny", "learning_rate": 1e-4, "steps": 7, "batch_tokens": 128, "seed": 3}
    found = settings("--size", "small", before=before)
    assert (found.learning_rate, found.steps, found.batch_tokens, found.seed) == (None, None, None, 3)


def test_epochs_count_after_steps_and_steps_after_epochs() -> None:
    assert settings("--epochs", 2, before={"steps": 7}).steps is None
    assert settings("--steps", 5, before={"epochs": 2.0}).epochs is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[
            (name, value)
            for name in ("--steps", "--batch-tokens", "--patience")
            for value in ("0", "-1", "x")
        ],
        *[
            (name, value)
            for name in ("--learning-rate", "--epochs")
            for value in ("0", "-1", "nan", "inf", "x")
        ],
        *[("--warmup-share", value) for value in ("1", "-0.1", "nan", "x")],
        *[("--weight-decay", value) for value in ("-1", "nan", "x")],
        ("--schedule", "steps"),
        ("--precision", "fp8"),
        ("--size", "huge"),
        ("--distributed", "0"),
    ],
)
def test_bad_values_are_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(option, value)
    assert ended.value.code == 2
    assert option in capsys.readouterr().err


def test_a_batch_that_is_shorter_than_a_sequence_is_refused() -> None:
    with pytest.raises(UserError, match="64 tokens"):
        settings("--batch-tokens", 63)


def test_another_process_gets_the_same_options() -> None:
    given = ["--size", "small", "--steps", "3", "--learning-rate", "0.001", "--no-compile", "--shard"]
    given += ["--seed", "4", "--device", "cpu", "--from", "other", "--save-every", "2", "--precision", "fp32"]
    first = options(*given, "--distributed", 2)
    again = options(*command_line(first), "--distributed", 2)
    assert vars(again) == vars(first)
