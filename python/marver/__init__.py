"""marver: compiles PyTorch and ONNX models to native CPU modules."""

__version__ = "0.1.0"
