"""Wrong input through the command line: one sentence, exit code 2, nothing half-written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_hlr.cli import main

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"


def data_file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "toy" / "toy.inter"


def refusal(capsys, *words: str) -> str:
    """Run `train`, check that it is refused as it should be, and return the sentence."""
    assert main(["train", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in captured.err
    return line


def refuse(capsys, tmp_path, arguments, pattern: str, *more: str, model: str = "HLR") -> None:
    line = refusal(capsys, f"--model={model}", *arguments, *more)
    assert re.search(pattern, line), line
    assert not list((tmp_path / "runs").glob("*")) if (tmp_path / "runs").exists() else True


def test_no_data_set_folder(tmp_path, arguments, capsys):
    data_file(tmp_path).parent.rename(tmp_path / "elsewhere")
    refuse(capsys, tmp_path, arguments, r"dataset=toy: there is no file .*toy\.inter.*--data_path=FOLDER")


def test_no_file_of_a_split(tmp_path, arguments, capsys):
    refuse(capsys, tmp_path, arguments, r"toy\.train\.inter", "--benchmark_filename=[train,valid,test]")


@pytest.mark.parametrize(
    ("header", "pattern"),
    [
        ("user_id:token\titem_id\trating:float\n", r"toy\.inter, line 1: column 'item_id' must be name:type"),
        (
            "user_id:token\titem_id:tokens\n",
            r"column 'item_id:tokens' must be name:type.*one of token, float",
        ),
        ("user_id:token,item_id:token\n", r"column 'user_id:token,item_id:token' must be"),
        ("\n", r"line 1: is empty; must be name:type of every column"),
        ("user:token\titem:token\n", r"has no column user_id, item_id; it has user, item"),
    ],
)
def test_wrong_header(tmp_path, arguments, capsys, header, pattern):
    data_file(tmp_path).write_text(header + "a\tb\n")
    refuse(capsys, tmp_path, arguments, pattern)


def test_wrong_value_in_a_column(tmp_path, arguments, capsys):
    data_file(tmp_path).write_text(HEADER + "u1\ti1\tfive\t3\n")
    refuse(
        capsys,
        tmp_path,
        arguments,
        r"toy\.inter: line 2: rating=five must be a number",
        "--load_col={inter: [user_id, item_id, rating]}",
    )


def test_wrong_encoding(tmp_path, arguments, capsys):
    data_file(tmp_path).write_bytes(("üser_id:token\titem_id:token\n" + "a\tb\n").encode("latin-1"))
    refuse(capsys, tmp_path, arguments, r"toy\.inter: is not utf-8 text.*--encoding")


def test_a_line_with_too_many_columns(tmp_path, arguments, capsys):
    data_file(tmp_path).write_text(HEADER + "u1\ti1\t3\t4\nu1\ti1\t3\t4\t5\t6\n")
    refuse(capsys, tmp_path, arguments, r"toy\.inter, line 3: has 6 columns; must have 4")


def test_byte_order_marks(tmp_path, arguments, capsys):
    data_file(tmp_path).write_text("\ufeff" + HEADER)
    refuse(capsys, tmp_path, arguments, r"byte order mark.*--encoding=utf-8-sig")


@pytest.mark.parametrize(
    ("word", "pattern"),
    [
        (
            "--eval_args={order: TO}",
            r"order: TO: needs the column TIME_FIELD=timestamp.*load_col",
        ),
        ("--eval_args={mode: labeled}", r"mode: labeled: needs the column LABEL_FIELD=label"),
        ("--topk=[10, 18]", r"topk=\[10, 18\] \(command line\): must be at most 17"),
    ],
)
def test_what_the_data_cannot_give(tmp_path, arguments, capsys, word, pattern):
    words = [a for a in arguments if a.split("=")[0] != word.split("=")[0]]
    refuse(capsys, tmp_path, words, pattern, word)


def test_tables_that_do_not_fit_into_memory(tmp_path, arguments, capsys):
    words = [a for a in arguments if not a.startswith("--embedding_size")]
    words += ["--embedding_size=100000", "--num_memories=2000000000"]
    refuse(capsys, tmp_path, words, r"out of memory.*largest sizes are num_memories=2000000000, embedding_")


def test_rankings_of_rated_interactions(tmp_path, arguments, capsys):
    words = ["--eval_args={mode: labeled}", "--LABEL_FIELD=rating"]
    words.append("--load_col={inter: [user_id, item_id, rating]}")
    pattern = r"mode: labeled: ranks nothing; needs metrics of ratings such as AUC"
    refuse(capsys, tmp_path, arguments, pattern, *words)


def test_filters_that_leave_nothing(tmp_path, arguments, capsys):
    refuse(
        capsys, tmp_path, arguments,
        r"no interaction is left after filtering with .*user_inter_num_interval=\[99,inf\)",
        "--user_inter_num_interval=[99,inf)",
    )  # fmt: skip


def test_a_header_without_interactions(tmp_path, arguments, capsys):
    data_file(tmp_path).write_text(HEADER)
    refuse(capsys, tmp_path, arguments, r"toy\.inter: has a header and no row below it")


def test_a_filter_on_a_column_that_is_not_there(tmp_path, arguments, capsys):
    refuse(capsys, tmp_path, arguments, r"val_interval=.*stars", "--val_interval={stars: '[4,inf)'}")


def test_a_filter_that_does_not_suit_its_column(tmp_path, arguments, capsys):
    words = ["--load_col={inter: [user_id, item_id, rating]}"]
    for wanted, allowed in (("rating: [4, 5]", "an interval"), ("user_id: '[1,2]'", "a list of values")):
        pattern = rf"val_interval=.* \(command line\): must be {allowed}"
        refuse(capsys, tmp_path, arguments, pattern, *words, f"--val_interval={{{wanted}}}")


@pytest.mark.parametrize(
    ("model", "word", "pattern"),
    [
        ("EASE", "--reg_weight=a", r"reg_weight=a \(command line\): must be a number > 0"),
        ("EASE", "--reg_weight=0", r"reg_weight=0 \(command line\): must be a number > 0"),
        ("EASE", "--reg_weight=.nan", r"reg_weight=nan \(command line\): must be finite"),
        ("LightGCN", "--n_layers=two", r"n_layers=two \(command line\): must be an integer >= 0"),
        ("BPR", "--embedding_size=0", r"embedding_size=0 \(command line\): must be an integer >= 1"),
        ("BPR", "--train_neg_sample_args={distribution: none}", r"train_neg_sample_args=.*uniform"),
        ("BPR", "--log_wandb=true", r"model=BPR: .*wandb"),
    ],
)
def test_wrong_options_of_the_hosts_models(tmp_path, arguments, capsys, model, word, pattern):
    given = ("--embedding_size", word.split("=")[0])
    words = [a for a in arguments if a.split("=")[0] not in given]
    refuse(capsys, tmp_path, words, pattern, word, model=model)


def test_a_model_of_the_host_that_is_given_no_negatives(tmp_path, arguments, capsys):
    refuse(
        capsys, tmp_path, arguments,
        r"train_neg_sample_args=None \(command line\): must be a mapping such as .*, for BPR learns from",
        "--train_neg_sample_args=null", model="BPR",
    )  # fmt: skip


@pytest.mark.parametrize("model", ["HLR", "BPR"])
def test_a_user_with_every_item(tmp_path, arguments, capsys, model):
    """Has no negative item; against the whole catalogue, no item is left that it could be held against."""
    with data_file(tmp_path).open("a") as file:
        file.writelines(f"greedy\ti{item}\t5\t1\n" for item in range(1, 18))
    pattern = r"user greedy has interacted with all 17 items: no negative item is left"
    refuse(capsys, tmp_path, arguments, pattern, "--objective=triplet", model=model)
    if model == "HLR":
        assert main(["train", "--model=HLR", *arguments, "--objective=softmax", "--valid_metric=loss"]) == 0


def test_an_infinite_loss(tmp_path, arguments, capsys):
    free = ["--geometry=ball", "--max_norm=null"]
    line = refusal(capsys, "--model=CML", *arguments, "--learning_rate=1e30", *free)
    assert re.search(
        r"epoch \d: the training loss is (inf|nan) with learning_rate=1e\+30; must be finite", line
    )


def test_a_folder_that_cannot_be_made(tmp_path, arguments, capsys):
    (tmp_path / "file").write_text("")
    words = [word for word in arguments if "checkpoint_dir" not in word]
    line = refusal(capsys, "--model=CML", *words, f"--checkpoint_dir={tmp_path / 'file' / 'runs'}")
    assert "must be a folder that can be written" in line


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["--model=HRL", "--dataset=ml-100k"], r"model=HRL: is not known \(did you mean HLR\?\)"),
        (["--model=HLR", "--dataset=ml-100q"], r"dataset=ml-100q: there is no file"),
        (["--model=HLR"], r"--dataset .*is missing"),
        (["--dataset=ml-100k"], r"--model .*is missing"),
        (["--model=HLR", "--dataset=ml-100k", "--epoch=3"], r"did you mean epochs\?"),
        (
            ["--model=HLR", "--dataset=ml-100k", "--epochs", "0"],
            r"epochs=0 \(command line\): must be an integer >= 1",
        ),
        (["--model=HLR", "--dataset=ml-100k", "--learning-rate=0"], r"learning_rate=0 \(command line\)"),
        (["HLR"], r"HLR \(command line\): must be --key=value"),
        (["--resume=/no/such/run"], r"/no/such/run: is no run directory"),
        (["--config_files=nope.yaml", "--model=HLR", "--dataset=x"], r"nope\.yaml: there is no such"),
    ],
)
def test_wrong_command_lines(capsys, words, pattern):
    assert re.search(pattern, refusal(capsys, *words))


def test_unknown_verb_and_help(capsys):
    assert main(["fit"]) == 2
    assert "must be one of train" in capsys.readouterr().err
    for words in ([], ["--help"], ["train", "-h"]):
        assert main(words) == 0
        assert "Usage: recbole-hlr" in capsys.readouterr().out


def test_list_of_models(capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "HLR" in out.splitlines()[0]
    assert "LightGCN" in out.splitlines()[1]


@pytest.mark.slow
def test_output_off_a_terminal_is_quiet_and_complete(tmp_path, arguments):
    """No progress bar, no colour codes; the table on standard output, the rest on standard error."""
    words = [sys.executable, "-m", "recbole_hlr", "train", "--model=HLR", *arguments]
    words = [word.replace("show_progress=False", "show_progress=True") for word in words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"\x1b|\r|%\|", done.stdout + done.stderr)
    assert re.search(r"HLR +validation +test", done.stdout)
    assert re.search(r"ndcg@10 +0\.\d{4} +0\.\d{4}", done.stdout)
    assert "run directory" in done.stdout
    assert [line for line in done.stderr.splitlines() if line.startswith("epoch")][2].startswith("epoch   2")
    assert "Warning" not in done.stderr, done.stderr
