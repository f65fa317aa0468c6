"""Errors a client of the compile service can see. Each carries the CUresult to answer with."""

INVALID_IMAGE = 200
NO_BINARY_FOR_GPU = 209
INVALID_PTX = 218
UNKNOWN = 999


class CompileError(Exception):
    """An image that can't be used; `code` is the CUresult, the text goes to the JIT error log."""

    code = UNKNOWN


class ImageError(CompileError):
    """Not an image, or a damaged one."""

    code = INVALID_IMAGE


class NoPtxError(CompileError):
    """An intact image without PTX that this device could use."""

    code = NO_BINARY_FOR_GPU


class PtxError(CompileError):
    """PTX that is wrong or not supported. `pos` is an offset into the module's text, -1 if unknown."""

    code = INVALID_PTX

    def __init__(self, text: str, pos: int = -1) -> None:
        super().__init__(text)
        self.pos = pos


class UnsupportedError(PtxError):
    """Correct PTX as far as we know, but not translated: refusing is better than a wrong result."""
