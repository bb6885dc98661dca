"""Numbers in sentences."""


def number_of(count: int, noun: str, plural: str = "") -> str:
    """Return a count and its noun, in the singular for one.

    Examples
    --------
    >>> number_of(1, "die"), number_of(2, "die"), number_of(0, "class", "classes")
    ('1 die', '2 dies', '0 classes')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"
