"""Train and evaluate one model: python run_recbole_hlr.py --model=HLR --dataset=ml-100k."""

import sys

from recbole_hlr.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
