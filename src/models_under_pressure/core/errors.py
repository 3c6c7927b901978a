"""Errors that a user can act on."""

import errno

from models_under_pressure.core.display import printable


class UserError(Exception):
    """A problem the user can mend: what is wrong, where, and the remedy.

    The command line prints it as one line and exits with status 1; a traceback would hide the remedy. What a file or a
    server brought into the message is made harmless.
    """

    def __init__(self, problem: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.problem = problem
        self.where = where
        self.remedy = remedy
        place = f"{where}: " if where else ""
        mend = f" Remedy: {remedy}" if remedy else ""
        super().__init__(printable(" ".join(f"{place}{problem}{mend}".split("\n"))))


def first_line(error: BaseException) -> str:
    """What an error says first; its type, where it says nothing (as MemoryError does)."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def disk_error(error: OSError) -> UserError | None:
    """What a full or read-only disk means for the user; None for errors of another kind.

    What commands write appears whole under its name or not at all, so that repeating the command is safe.
    """
    where = str(error.filename2 or error.filename) if error.filename else None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "free some space and repeat the command; `mup doctor` counts what a run needs."
        return UserError("the disk is full.", where=where, remedy=remedy)
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        remedy = "check the rights of this path and its folder, or work in a copy of the project."
        return UserError(f"not permitted ({error.strerror}).", where=where, remedy=remedy)
    return None
