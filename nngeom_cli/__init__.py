"""nngeom: how training shapes the Riemannian geometry of neural network feature maps."""
