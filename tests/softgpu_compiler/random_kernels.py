"""Random kernels without races: every thread writes only its own slot of shared memory between barriers,
and reads others' slots only after one. What all threads share (`u` variables) decides about barriers.
"""

from __future__ import annotations

import random

SHARED = ["u0", "u1", "n", "(int)blockIdx.x", "(int)blockDim.x", "(u0 ^ n)"]
OWN = ["v0", "v1", "v2", "t", "(int)threadIdx.x", "(int)threadIdx.y", "in[ALL]", "in[(t * 3 + n) % SIZE]"]
HEAD = """
#define SIZE (int)(blockDim.x * blockDim.y * blockDim.z)
#define ME (int)(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z))
#define ALL (blockIdx.x * SIZE + t)
"""


class Writer:
    """Writes one kernel body."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.loops = 0

    def expression(self, leaves: list[str], depth: int = 2) -> str:
        if depth == 0 or self.rng.random() < 0.25:
            return self.rng.choice([*leaves, str(self.rng.randrange(1, 9))])
        a, b = self.expression(leaves, depth - 1), self.expression(leaves, depth - 1)
        operation = self.rng.choice(["+", "-", "*", "^", "&", "+", "% 7 +", ">> 1 ^", "< "])
        return f"({a} {operation} {b})"

    def own(self) -> str:
        leaves = SHARED + OWN * 2
        if self.rng.random() < 0.2:
            return f"(int)(0.5f * ({self.expression(leaves, 1)} & 255) + f)"
        return self.expression(leaves)

    def statements(self, depth: int, together: bool) -> str:
        """`together`: all threads of the block come here, so that barriers are allowed."""
        return " ".join(self.statement(depth, together) for _ in range(self.rng.randint(2, 4)))

    def statement(self, depth: int, together: bool) -> str:
        kind = self.rng.randrange(10)
        name = f"v{self.rng.randrange(3)}"
        if together and kind < 3:
            read = f"s[(t + ({self.expression(SHARED, 1)} & 63)) % SIZE]"
            return f"s[t] = {self.own()}; __syncthreads(); {name} += {read}; __syncthreads();"
        if together and kind == 3:
            return f"u{self.rng.randrange(2)} = {self.expression(SHARED)} & 15;"
        if depth and kind in (4, 5):
            common = together and self.rng.random() < 0.6
            condition = self.expression(SHARED) if common else self.own()
            inside = together and common
            other = f" else {{ {self.statements(depth - 1, inside)} }}" if self.rng.random() < 0.5 else ""
            return f"if (({condition}) & 1) {{ {self.statements(depth - 1, inside)} }}{other}"
        if depth and kind in (6, 7):
            common = together and self.rng.random() < 0.7
            self.loops += 1
            i = f"i{self.loops}"
            bound = f"({self.expression(SHARED, 1) if common else self.own()} & 3)"
            body = self.statements(depth - 1, together and common)
            return f"for (int {i} = 0, e = {bound}; {i} < e; {i}++) {{ {name} += {i}; {body} }}"
        if kind == 8:
            return f"f = f * 0.5f + ({self.own()} & 1023);"
        return f"{name} {self.rng.choice(['=', '+=', '^='])} {self.own()};"


class LoopWriter(Writer):
    """Writes kernels without barriers whose loops stride over memory."""

    def statement(self, depth: int, together: bool) -> str:
        name = f"v{self.rng.randrange(3)}"
        if depth and self.rng.random() < 0.7:
            return self.strided(depth, name)
        if self.rng.random() < 0.3:
            return f"if (({self.own()}) & 1) {{ {name} += in[{self.place()}]; out[ALL] = {name}; }}"
        return f"{name} {self.rng.choice(['=', '+=', '^='])} {self.own()};"

    def place(self) -> str:
        return f"(unsigned)({self.expression([*OWN, *SHARED], 1)}) % 1024"

    def strided(self, depth: int, name: str) -> str:
        self.loops += 1
        i = f"i{self.loops}"
        kind = self.rng.choice(["int", "int", "unsigned", "long long"])
        start = self.rng.choice(["t", "(int)ALL", "0", "t * 2", "t", "(int)ALL", "(v0 & 7)"])
        step = self.rng.choice(["(int)blockDim.x", "1", "3", "(int)(blockDim.x * gridDim.x)", "(n + 1)"])
        bounds = ["64", "n * 9", "SIZE * 5", "(int)(SIZE * gridDim.x) * 6", "n * 20", "t + 20"]
        bound = self.rng.choice(bounds)
        head = f"{kind} {i} = {start}; {i} < {bound}; {i} += {step}"
        if kind == "int" and self.rng.random() < 0.3:
            head = f"int {i} = 40 + {start}; {i} > n; {i} -= {step}"
        body = f"{name} += in[(unsigned)({i} + {self.rng.randrange(9)}) % 1024];"
        inside = self.statements(int(self.rng.random() < 0.1), False)
        whole = '_Pragma("unroll 1") ' if self.rng.random() < 0.5 else ""
        return f"{whole}for ({head}) {{ {body} {inside} }}"


def loops_source(first: int, count: int) -> str:
    """CUDA C of kernels loops_FIRST, ...: (const int *in, int *out, int n), without barriers."""
    text = [HEAD]
    for seed in range(first, first + count):
        writer = LoopWriter(seed)
        body = writer.statements(2, False) + writer.strided(1, "v1")
        text.append(
            f'extern "C" __global__ void loops_{seed}(const int *in, int *out, int n) {{\n'
            "  int t = ME, u0 = n, u1 = blockIdx.x, v0 = in[ALL], v1 = t, v2 = 1; float f = 1;\n"
            f"  {body}\n  out[ALL] = v0 * 31 + v1 * 17 + v2 + (int)f + u0 + u1;\n}}\n"
        )
    return "".join(text)


def source(first: int, count: int) -> str:
    """CUDA C of kernels random_FIRST, ...: (const int *in, int *out, int n)."""
    text = [HEAD]
    for seed in range(first, first + count):
        body = Writer(seed).statements(3, True)
        text.append(
            f'extern "C" __global__ void random_{seed}(const int *in, int *out, int n) {{\n'
            "  __shared__ int s[1024]; int t = ME, u0 = n, u1 = blockIdx.x, v0 = in[ALL], v1 = t, v2 = 1;\n"
            f"  float f = 1; s[t] = v0; __syncthreads(); {body}\n"
            "  out[ALL] = v0 * 31 + v1 * 17 + v2 + (int)f + u0 + u1;\n}\n"
        )
    return "".join(text)
