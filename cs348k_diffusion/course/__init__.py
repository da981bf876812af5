"""The course around the package: installing it, opening it, and looking over the machine it runs on."""


class CourseError(Exception):
    """Something the reader can mend; its text is one sentence."""
