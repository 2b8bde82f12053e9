"""How the tape notices that an array was changed under it: seals on the memory that somebody
outside the engine has seen.

Operations write into new arrays only, so an array that nobody outside has seen is as it was, and
needs no seal: that is nearly every array of a training step. What the engine itself writes to, as
optimizers do to weights, it counts. The moment somebody is handed an array, the nodes that hold it
take its fingerprint, and nodes recorded later take it when they are recorded. Before a node's vjps
run, counts and fingerprints are compared.
"""
import weakref

import numpy as np

EXACT = 1 << 14         # bytes up to which a fingerprint is the array itself
FEW = 8                 # seals of one memory, before those of nodes that are gone are looked for
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
    # A view where the array lies in one piece, a copy else.
    content = array.ravel(order="K").view(np.uint8)
    table = content[:content.size // (8 * WORDS) * (8 * WORDS)]
    words = table.view(np.uint64).reshape(-1, WORDS)
    return words.sum(axis=0).tobytes() + words.sum(axis=1).tobytes() + content[table.size:].tobytes()


class Memory:
    """One piece of memory, shared by all Tensors whose arrays lie in it. public: somebody outside
    the engine has seen it. writes: how often the engine wrote to it before.
    """
    __slots__ = ("public", "seals", "room", "writes")

    def __init__(self, public: bool):
        self.public, self.seals, self.room, self.writes = public, [], FEW, 0

    def publish(self) -> None:
        """Called before an array of this memory is handed out."""
        self.public = True
        seals, self.seals = self.seals, []
        for seal in seals:
            if (alive := seal()) is not None:
                alive.close()

    def watch(self, seal: "Seal") -> None:
        """Have publish() close the seal, if it still lives then: it does as long as its node."""
        if len(self.seals) == self.room:
            self.seals = [one for one in self.seals if one() is not None]
            self.room = 2 * len(self.seals) + FEW
        self.seals.append(weakref.ref(seal))

    def write(self) -> None:
        """Called before the engine writes to an array of this memory. (What is public is compared anyway.)"""
        if not self.public:
            self.writes += 1


class Seal:
    """One array that a node depends on. fingerprint: None as long as nobody outside has seen the
    array.
    """
    __slots__ = ("array", "memory", "writes", "fingerprint", "__weakref__")

    def __init__(self, array: np.ndarray, memory: Memory):
        self.array, self.memory, self.writes = array, memory, memory.writes
        self.fingerprint = fingerprint(array) if memory.public else None
        if not memory.public:
            memory.watch(self)

    def close(self) -> None:
        """Note what the array holds now."""
        self.fingerprint = fingerprint(self.array)

    def broken(self) -> bool:
        """Whether the array holds something else than it did."""
        return self.writes != self.memory.writes or (self.fingerprint is not None
                                                     and fingerprint(self.array) != self.fingerprint)


def owner(array: np.ndarray) -> np.ndarray:
    """The array whose memory `array` is a view of; itself if it is no view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
