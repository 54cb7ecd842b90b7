"""Characters in feature space, made visible: TensorBoard's projector, a picture, a page."""
