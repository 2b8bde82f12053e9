"""This engine as a process of its own, for measurements as on another processor (peers.py)."""
from .. import __version__, parallel
from .cases import build
from .peers import serve

if __name__ == "__main__":
    serve(__version__, parallel.set_num_threads, lambda case: (None, build(case)))
