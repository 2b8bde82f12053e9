"""How the tape notices that an array was changed under it: seals on memory that somebody has seen.

Operations write into new arrays only, so an array that nobody outside the engine has seen is as it
was, and needs no seal: that is nearly every array of a training step. The moment somebody is handed
an array, its memory takes a fingerprint for the nodes that hold it (it was unchanged until then);
nodes recorded later take one when they are recorded. Before a node's vjps run, they are compared.
"""
import numpy as np

EXACT = 1 << 14         # bytes up to which a fingerprint is the array itself
WORDS = 509             # of a row: a prime, so that no power of two of channels or pixels repeats with the rows


def fingerprint(array: np.ndarray) -> bytes:
    """Changes when the array does: its bytes, or, of a large one, the sums of all its 64-bit words
    along rows and along columns of a table.

    One changed word changes a sum for certain, and so do two that changed places: they differ in
    their row or in their column. A fill, a slice or a step of an optimizer would have to leave more
    than 509 sums as they were, by chance. Runs at the speed of memory.
    """
    if array.nbytes <= EXACT:
        return array.tobytes()
    content = array.ravel(order="K").view(np.uint8)     # a view where the array lies in one piece
    table = content[:content.size // (8 * WORDS) * (8 * WORDS)]
    words = table.view(np.uint64).reshape(-1, WORDS)
    return words.sum(axis=0).tobytes() + words.sum(axis=1).tobytes() + content[table.size:].tobytes()


class Memory:
    """One piece of memory, shared by all Tensors whose arrays lie in it.

    root: the array that owns it. public: somebody outside the engine has seen it. held: a node depends on it. seal: the
    fingerprint of root when it was published, for the nodes that held it before.
    """
    __slots__ = ("root", "public", "held", "seal")

    def __init__(self, root: np.ndarray, public: bool):
        self.root, self.public, self.held, self.seal = root, public, False, None

    def publish(self) -> None:
        """Called before an array of this memory is handed out for the first time."""
        self.public = True
        if self.held:
            self.seal = fingerprint(self.root)


class Seal:
    """That one array of a memory, on which a node depends, stays as it is now."""
    __slots__ = ("array", "memory", "fingerprint")

    def __init__(self, array: np.ndarray, memory: Memory):
        self.array, self.memory, self.fingerprint = array, memory, None
        if memory.public:
            self.fingerprint = fingerprint(array)
        else:
            memory.held = True

    def broken(self) -> bool:
        """Whether the array holds something else than it did."""
        if self.fingerprint is not None:
            return fingerprint(self.array) != self.fingerprint
        return self.memory.public and fingerprint(self.memory.root) != self.memory.seal


def owner(array: np.ndarray) -> np.ndarray:
    """The array whose memory `array` is a view of; itself if it is no view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
