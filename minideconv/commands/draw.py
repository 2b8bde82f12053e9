"""`minideconv draw`: pictures of what the engine does. The drawing rooms register their own
pictures.
"""


def register(commands) -> None:
    """Add the command to what add_subparsers() gave."""
    from ..draw import command
    parser = commands.add_parser("draw", help="pictures of convolutions, sizes, checkerboards and tapes",
                                 description="Draw what the engine does. Each picture has its own --help.")
    command.register(parser.add_subparsers(dest="picture", metavar="PICTURE", required=True, parser_class=type(parser)))
