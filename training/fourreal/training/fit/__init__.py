"""Training in one worker, step by step. Nothing here knows Ray or MLflow."""
