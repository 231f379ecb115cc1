-- Runs once, when the database is made: MLflow's users stand apart from its runs.
CREATE DATABASE mlflow_auth OWNER mlflow;
