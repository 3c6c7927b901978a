"""Errors that a user can act on."""


class UserError(Exception):
    """A problem the user can mend: what is wrong, where, and the remedy.

    The command line prints it as one line and exits with status 1; a traceback would hide the remedy.
    """

    def __init__(self, problem: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.problem = problem
        self.where = where
        self.remedy = remedy
        place = f"{where}: " if where else ""
        mend = f" Remedy: {remedy}" if remedy else ""
        super().__init__(f"{place}{problem}{mend}")
