"""Time `recbole-hlr convert` on generated ratings of MovieLens 20M's size, and its peak memory.

    python benchmarks/convert.py --lines 5000000,20000000
    python benchmarks/convert.py --kind table

Beside it stands how long pyarrow alone takes to read the same file into memory, on all cores.

The ratings are generated, not MovieLens: as many users and movies as ML-20M has, with a long tail of
both, sorted by user, titles beside. Peak memory is the resident set of the conversion's own process.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from tabulate import tabulate

USERS, MOVIES = 138_493, 26_744  # of MovieLens 20M


def generate(folder: Path, lines: int, packed: bool) -> None:
    """Write ratings.csv (or ratings.csv.gz) and movies.csv; no user rates a movie twice."""
    rng = np.random.default_rng(2021)
    activity = rng.lognormal(0, 1, USERS)
    users = np.sort(rng.choice(USERS, 3 * lines // 2, p=activity / activity.sum()))
    movies = (MOVIES * rng.random(len(users)) ** 2).astype(np.int64)
    pairs = np.unique(users * MOVIES + movies)
    pairs = np.sort(rng.choice(pairs, lines, replace=False, shuffle=False))
    rating = rng.choice(np.arange(1, 11) / 2, lines, p=np.array([1, 3, 1, 7, 4, 20, 11, 28, 8, 17]) / 100)
    table = pa.table(
        {
            "userId": pairs // MOVIES + 1,
            "movieId": pairs % MOVIES + 1,
            "rating": rating,
            "timestamp": rng.integers(789_652_009, 1_427_784_002, lines),
        }
    )
    options = pa.csv.WriteOptions(quoting_header="none")
    pa.csv.write_csv(table, folder / "ratings.csv", options)
    titles = [f'{movie},"Movie, The {movie} (1999)",Comedy|Drama\n' for movie in range(1, MOVIES + 1)]
    (folder / "movies.csv").write_text("movieId,title,genres\n" + "".join(titles))
    if packed:
        with (
            (folder / "ratings.csv").open("rb") as plain,
            gzip.open(folder / "ratings.csv.gz", "wb", 6) as file,
        ):
            shutil.copyfileobj(plain, file)
        (folder / "ratings.csv").unlink()


def measure(folder: Path, kind: str) -> tuple[float, float, str]:
    """Convert, and return seconds, the peak of resident memory in MiB, and the report."""
    source = folder if kind == "movielens" else next(folder.glob("ratings.*"))
    words = [sys.executable, "-m", "recbole_hlr", "convert", kind, str(source), "--out", str(folder)]
    words += ["--user=userId", "--item=movieId", "--rating=rating", "--time=timestamp"] * (kind == "table")
    begin = time.perf_counter()
    done = subprocess.run([*words, "--name=ml-20m"], check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - begin
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10, done.stdout


def main() -> None:
    """Generate and convert each size in processes of their own, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", default="20000000", help="numbers of ratings, separated by commas")
    parser.add_argument("--kind", default="movielens", choices=["movielens", "table"])
    parser.add_argument("--packed", action="store_true", help="ratings.csv.gz instead of ratings.csv")
    parser.add_argument("--folder", help="convert the generated files of this folder, and nothing else")
    given = parser.parse_args()
    if given.folder:
        seconds, peak, report = measure(Path(given.folder), given.kind)
        print(f"{seconds} {peak}\n{report}")
        return
    rows = []
    for lines in map(int, given.lines.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            generate(Path(folder), lines, given.packed)
            size = max(file.stat().st_size for file in Path(folder).iterdir())
            # by a process that is small itself: a child counts the memory of the one that it is forked from
            words = [sys.executable, __file__, "--folder", folder, "--kind", given.kind]
            figures, report = subprocess.run(
                words, check=True, stdout=subprocess.PIPE, text=True
            ).stdout.split("\n", 1)
            begin = time.perf_counter()
            pa.csv.read_csv(next(Path(folder).glob("ratings.*")))
            alone = time.perf_counter() - begin
        seconds, peak = map(float, figures.split())
        print(report)
        rows.append([f"{lines:,}", size / 1e6, seconds, f"{lines / seconds:,.0f}", peak, alone])
    header = ["lines", "MB", "seconds", "lines/s", "peak MiB", "pyarrow alone, s"]
    print(tabulate(rows, header, floatfmt=".1f"))


if __name__ == "__main__":
    main()
