"""Pictures of what the engine does: every function returns a Matplotlib Figure or animation,
and `figure.save` writes it.

- figure: the shared style and the files
- walk, step: a convolution window by window, as records and as frames
- matrix: the convolution as a sparse matrix
- sizes: which layers make which sizes
- translate: one layer in PyTorch's, Keras's and ONNX's words (by conventions.py)
- stacks, overlap: checkerboards, predicted and measured, and their pictures
- boxes, layering, tape: the graph of a loss: what its boxes say, where they stand, the picture
- heatmap: where a gradient is wrong
- saliency, deconvnet: what a unit of a network responds to, and its picture
- latent: walks through a generator's latents, arithmetic, nearest training images
- arguments, command: the options that commands share, and the list of commands

Matplotlib is imported by the first function that draws, not by importing these modules.
"""
