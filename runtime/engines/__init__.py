"""Inference engines: one ONNX file in, numbers out, on the best hardware that qualifies on this box."""
