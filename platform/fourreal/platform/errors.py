"""The one exception whose text is meant for the person at the keyboard."""


class UserError(ValueError):
    """Something the user can mend: one sentence that names what is wrong and what to do.

    The command line prints the sentence without a traceback and exits with status 2.
    """
