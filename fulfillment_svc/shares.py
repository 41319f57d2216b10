"""What of a whole falls to its parts (G72): the parts sum up to it, and none is off by a whole unit. Pure."""


def split(total: int, items: int) -> tuple[int, ...]:
    """Each equal item's share of a total: what is left of the division goes to the first items, one each, which for
    equal items is the rule of the largest remainder."""
    share, left = divmod(total, items)
    return (share + 1,) * left + (share,) * (items - left)


def of_part(total: int, whole: int, left: int, taken: int) -> int:
    """The share of `total` that falls to `taken`, where `left` of `whole` had not been taken before.

    What falls to all parts sums up to `total`, in whatever order and sizes they are taken; what is never taken has
    `total * left // whole` of it.
    """
    return total * left // whole - total * (left - taken) // whole
