"""`minideconv info`: versions, threads, and whether this processor could do better."""


def register(commands) -> None:
    """Add the command to what add_subparsers() gave."""
    parser = commands.add_parser(
        "info", help="versions, threads, and whether the processor could do better",
        description="Versions, threads, the BLAS kernel in use, and whether this processor could do better.")
    parser.set_defaults(run=run)


def run(args) -> None:
    """Print what this machine computes with."""
    print("\n".join(report()))


def report() -> list:
    """The lines that `minideconv info` prints."""
    import platform
    from importlib.metadata import version

    from .. import __version__, machine, parallel
    versions = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "matplotlib"))
    return [f"minideconv {__version__}, Python {platform.python_version()}, {versions}",
            f"processor: {machine.processor()}; threads: {parallel.num_threads()} of {machine.available_threads()}",
            *machine.blas_report()]
