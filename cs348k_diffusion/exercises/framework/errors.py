"""What can come out of a student's code besides an answer: "not yet", or an exception told in one sentence."""


class NotYet(NotImplementedError):
    """An exercise that nobody has written yet; notebooks show the one line "E2.1: not yet" instead of a traceback."""

    def __init__(self, exercise: str = "this exercise"):
        super().__init__(exercise)
        self.exercise = exercise

    def __str__(self) -> str:
        return f"{self.exercise}: not yet"

    def _render_traceback_(self) -> list[str]:  # what IPython asks for when an exception reaches a cell
        return [str(self)]


def unwritten(exercise: str) -> str:
    """The reason for an answer without points that calls another exercise's."""
    return f"it calls {exercise}, which is not written"


class StudentError(Exception):
    """The student's code raised: `kind` names the exception's type, `text` is its message, `where` the line.

    A kind that is no exception's name says what else was wrong ("detached gradient"); an empty one goes with a text
    like "ended its process".
    """

    def __init__(self, kind: str, text: str = "", where: str = ""):
        super().__init__(kind, text, where)
        self.kind, self.text, self.where = kind, text, where

    def __str__(self) -> str:
        text, place = self.text and f": {self.text}", self.where and f" ({self.where})"
        if not self.kind:
            return f"your code {self.text}{place}"
        return f"your code raised {self.kind}{text}{place}" if self.kind.isidentifier() else f"{self.kind}{text}{place}"
