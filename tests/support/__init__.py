"""What several tests share: planted pairs, sample results, slow twins, and the comparison of whole results."""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # other sums, other last bits
    os.environ.setdefault(_name, "1")
