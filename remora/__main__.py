"""`python -m remora`: the command, where no `remora` is installed on PATH."""

from remora.engine.cli import main

if __name__ == "__main__":
    main()
