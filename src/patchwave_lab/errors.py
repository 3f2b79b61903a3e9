"""What the lab says when it cannot do what was asked."""


class LabError(Exception):
    """A mistake or a lack that the user can mend; its text is one clear line."""
