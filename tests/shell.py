"""The command line, called as a user calls it, without a process of its own."""
from minideconv import cli


def run_cli(capsys, *arguments):
    """Exit code, stdout and stderr of `minideconv ARGUMENTS`."""
    try:
        code = cli.main([*map(str, arguments)])
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()
