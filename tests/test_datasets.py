"""Data set configurations: the counts that they promise, and the sentence for one that is not there."""

import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from recbole_hlr.cli import main
from recbole_hlr.cli.conversion import convert as formats
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.convert import convert
from recbole_hlr.data.loaders import load_dataset
from recbole_hlr.options.shipped import shipped
from recbole_hlr.options.yaml_values import load_yaml

FILES = sorted(shipped("datasets").glob("*.yaml"))
NAMES = [file.stem for file in FILES]
SHARED = Path(os.environ.get("RECBOLE_HLR_SHARED", Path(__file__).parents[2] / "shared")) / "data"
COUNTS = {  # users, items, interactions after filtering
    "ml-1m": (5949, 2810, 571531),
    "echonest-sample": (1851, 3344, 36273),
    "lastfm-2k": (1767, 1470, 60974),
    "douban-music": (13343, 15957, 903178),
    "yelp2018-part": (24821, 37996, 1264795),
    "yelp2020": (24385, 17584, 586766),
    "amazon-book-kgat": (18072, 12063, 441383),
    "amazon-book-part": (16275, 28905, 651055),
    "gowalla-lightgcn": (29858, 40981, 1027370),
}
PAPER = {  # Table 1 of Tran et al. 2021: users, items, interactions, density in %; the core of section 4
    "ml-20m": (129757, 11508, 9911879, 0.664, 10),
    "echonest": (131495, 39874, 2476013, 0.047, 10),
    "yelp": (82166, 71949, 2077093, 0.035, 5),
    "amazon-books": (109730, 96421, 1405671, 0.013, 10),
}


def counts(name: str, data_path: Path) -> tuple[int, int, int]:
    data = load_dataset(HLRConfig("CML", name, options={"data_path": str(data_path)}))
    return data.user_num - 1, data.item_num - 1, data.inter_num


def test_every_configuration_is_tested():
    assert set(NAMES) == {*COUNTS, *PAPER, "ml-100k"}


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_counts_of_real_data(name, tmp_path):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is absent")
    shutil.copytree(SHARED / name, tmp_path / name, copy_function=shutil.copyfile)
    assert counts(name, tmp_path) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_the_comment_of_a_configuration_gives_its_counts(name):
    text = shipped("datasets", f"{name}.yaml").read_text()
    comment = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    users, items, interactions = (f"{count:,}" for count in COUNTS[name])
    assert all(f in comment for f in (f"{users} users", f"{items} items", f"{interactions} interactions"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ml-1m", "lastfm-2k", "echonest-sample"])
def test_converting_real_data_again_gives_the_same_counts(name, tmp_path):
    """Atomic files are tables with a header: before and after filtering as in the loaded data set."""
    path = SHARED / name / f"{name}.inter.xz"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    fields = ("user_id:token", "item_id:token", "rating:float" if name == "ml-1m" else "play_count:float")
    columns = {field.split(":")[0]: field for field in fields}
    report = convert("table", path, tmp_path, name=name, columns=columns)
    assert report.after[:3] == COUNTS[name] == counts(name, tmp_path)
    assert (report.malformed, report.repeated) == (0, 0)


def raw_file(name: str, folder: Path, rows: np.ndarray) -> tuple[str, Path]:
    """Write users, items, values and times as the publisher does; return the format and the file."""
    if name == "yelp":
        line = '{"user_id": "u%d", "business_id": "i%d", "stars": %d, "date": "2016-03-09 00:%02d:%02d"}'
        rows = np.column_stack([rows[:, :3], rows[:, 3] // 60, rows[:, 3] % 60])
        kind, file = "yelp", "yelp_academic_dataset_review.json"
    else:
        kind, file, line = {
            "ml-20m": ("movielens", "ratings.csv", "%d,%d,%d,%d"),
            "echonest": ("echonest", "train_triplets.txt", "u%d\ti%d\t%d"),
            "amazon-books": ("amazon", "ratings_Books.csv", "A%d,%010d,%d,%d"),
        }[name]
    rows = rows[:, :3] if name == "echonest" else rows
    lines = [line % tuple(row) for row in rows.tolist()]
    head = ["userId,movieId,rating,timestamp"] if name == "ml-20m" else []
    (folder / file).write_text("\n".join([*head, *lines]) + "\n")
    return kind, folder / file


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_four_on_a_constructed_case(name, tmp_path):
    """k users with k items each stay; one short of k, one below the threshold, do not."""
    *_, k = PAPER[name]
    enough = 6 if name == "echonest" else 4
    block = [(u, i, enough, 1) for u in range(1, k + 1) for i in range(1, k + 1)]
    few = [(100, i, 5 if enough == 4 else 9, 1) for i in range(1, k)]
    low = [(101, i, enough - 1, 1) for i in range(1, k + 1)]
    rare = [(1, 200, enough, 1)]
    rows = np.array([*block, *few, *low, *rare])
    folder = tmp_path / "ml-20m"
    folder.mkdir()
    kind, path = raw_file(name, folder, np.random.default_rng(0).permutation(rows))
    report = convert(kind, path, tmp_path / "out")
    assert report.name == name
    assert report.before[:3] == (k + 2, k + 1, len(rows))
    assert report.after == (k, k, k * k, k)
    assert counts(name, tmp_path / "out") == (k, k, k * k)


@pytest.mark.parametrize("name", ["yelp", "amazon-books"])
def test_a_later_review_replaces_an_earlier_one(name, tmp_path):
    """Also where it stands first: user 1 thinks worse of item 1, user 2 better."""
    *_, k = PAPER[name]
    rows = [(u, i, 4, 30) for u in range(1, k + 2) for i in range(1, k + 1)]
    rows = [row for row in rows if row[:2] != (1, 1)]
    rows = [(1, 1, 2, 60), *rows, (1, 1, 5, 1), (2, 2, 1, 5)]
    kind, path = raw_file(name, tmp_path, np.array(rows))
    report = convert(kind, path, tmp_path / "out")
    assert report.repeated == 2
    assert report.after[:3] == counts(name, tmp_path / "out") == (k, k, k * k)  # user 1 has too few


@pytest.mark.parametrize("name", PAPER)
def test_table_1_stands_in_the_configuration(name):
    users, items, interactions, density, k = PAPER[name]
    config = load_yaml(shipped("datasets", f"{name}.yaml"))
    assert config["source"]["table_1"] == [users, items, interactions]
    assert round(100 * interactions / users / items, 3) == density
    assert config["user_inter_num_interval"] == config["item_inter_num_interval"] == f"[{k},inf)"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ml-100k"])
def test_a_missing_data_set_says_where_to_get_it(name, tmp_path, capsys):
    """The command that it names is one that the converter understands, and gives the data set that name."""
    assert main(["train", "--model=CML", f"--dataset={name}", f"--data_path={tmp_path}"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    source = load_yaml(shipped("datasets", f"{name}.yaml"))["source"]
    parts = load_yaml(shipped("datasets", f"{name}.yaml")).get("benchmark_filename", [])
    first = ".".join([name, *parts[:1], "inter"])
    assert f"there is no file {tmp_path / name / first}; get {source['publisher']} from" in line
    if parts:
        assert re.search(r"from https?://\S+ and put the parts that benchmark_filename names there", line)
        return
    assert re.search(r"from https?://\S+ and run `", line)
    (command,) = re.findall(r"`recbole-hlr convert (.*?)`", line)
    kind, *rest = shlex.split(command)
    words = {"kind": kind, **formats.commands[kind].make_context(kind, rest).params}
    assert words["out"] == str(tmp_path)
    given = {"movielens": Path(words["source"]).stem, "amazon": "amazon-books"}.get(
        words["kind"], words["kind"]
    )
    assert (words["name"] or given) == name
    assert line.endswith("name its parent with --data_path=FOLDER")


def test_other_missing_data_sets(tmp_path, capsys):
    words = ["train", "--model=CML", "--dataset=shop", f"--data_path={tmp_path}"]
    assert main(words) == 2
    assert "convert table FILE --user COLUMN --item COLUMN --name shop --out" in capsys.readouterr().err


def test_where_to_get_a_data_set_is_no_option(capsys):
    config = HLRConfig("CML", "ml-1m")
    assert "source" not in config.final_config_dict
    assert "publisher" not in str(config)
    assert main(["train", "--model=CML", "--dataset=ml-1m", "--source=x"]) == 2
    assert "source (command line): is no option" in capsys.readouterr().err
