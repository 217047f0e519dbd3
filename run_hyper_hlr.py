"""Search for options: python run_hyper_hlr.py --model=HLR --dataset=ml-100k --params_file=hyper.test."""

import sys

from recbole_hlr.cli import main

if __name__ == "__main__":
    sys.exit(main(["tune", *sys.argv[1:]]))
