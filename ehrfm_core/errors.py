"""The one exception that reaches a user."""


class UserError(Exception):
    """A mistake in the user's input, told in one sentence.

    The message names the file, table, column and count concerned and the way out. The command line
    prints it and exits with status 1; the dashboard shows it in place of the page.
    """


def brief(error: object, most: int = 120) -> str:
    r"""What an exception says, for a UserError: on one line and not too long, since it may quote a file.

    >>> brief(ValueError("no column\n'a'"))
    "no column 'a'"
    """
    return " ".join(str(error).split())[:most]
