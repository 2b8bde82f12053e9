"""Pictures of what the engine does: every function returns a Matplotlib Figure or animation, and `figure.save` writes it.

figure: the shared look and the files | walk, step: a convolution window by window, as records and as frames
matrix: the convolution as a sparse matrix | sizes: which layers make which sizes
conventions, translate: one layer in PyTorch's, Keras's and ONNX's words
overlap: checkerboards predicted | tape: the graph of a loss | heatmap: where a gradient is wrong
Matplotlib is imported by the first function that draws, not by importing these modules.
"""
