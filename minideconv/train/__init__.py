"""Training that leaves a run on disk: its configuration, the state it goes on from, its pictures,
and the folder that holds them.
"""
