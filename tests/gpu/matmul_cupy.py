"""A CuPy matrix product, checked against NumPy. Prints seconds for a number of products."""

import sys
import time

import cupy as cp
import numpy as np

N, ROUNDS = 1024, 50


def main():
    a = np.random.default_rng(1).random((N, N), dtype=np.float32)
    b = np.random.default_rng(2).random((N, N), dtype=np.float32)
    da, db = cp.asarray(a), cp.asarray(b)
    c = da @ db  # loads the library
    np.testing.assert_allclose(cp.asnumpy(c), a @ b, rtol=1e-3)
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        c = da @ db
    cp.cuda.Device().synchronize()
    print(f"seconds {time.perf_counter() - begin:.6f}")
    print(f"checksum {float(c.sum()):.6g}")


if __name__ == "__main__":
    sys.exit(main())
