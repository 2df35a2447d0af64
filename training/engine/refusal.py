"""Failures that have a sentence for people."""


class Refused(Exception):
    """A spec or data that cannot work as it is: the engine ends with exit code 2 and must not be tried again.

    The message is a sentence that says what is wrong, where, and what would be right.
    """


class Unavailable(Exception):
    """Something outside the run is missing for now (a model hub, an endpoint): worth another try later.

    The message is a sentence that says what could not be reached and what to do.
    """
