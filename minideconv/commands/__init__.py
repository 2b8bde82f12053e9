"""The commands of `minideconv`, one a file: each registers its options, and imports what it needs
only when it runs.
"""
