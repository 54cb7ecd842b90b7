"""A model as ONNX, checked against torch, also in 8 bits."""
