"""The numbers and figures of a run in other tools: TensorBoard, MLflow, a user's own."""
