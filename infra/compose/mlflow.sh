#!/bin/sh
# MLflow on PostgreSQL with a password for every request; passwords come from files, so that neither a command line nor
# an environment shows them. Wants /run/secrets/postgres_password and /run/secrets/mlflow_admin.
set -eu
umask 077
secrets=${SECRETS_FOLDER:-/run/secrets}
database="postgresql://mlflow:$(cat "$secrets/postgres_password")@${POSTGRES_HOST:-postgres}:5432"
configuration=$(mktemp)
cat >"$configuration" <<END
[mlflow]
default_permission = READ
database_uri = $database/mlflow_auth
admin_username = admin
admin_password = $(cat "$secrets/mlflow_admin")
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
END
export MLFLOW_AUTH_CONFIG_PATH="$configuration"
export MLFLOW_BACKEND_STORE_URI="$database/mlflow"
MLFLOW_FLASK_SERVER_SECRET_KEY=$(cat "$secrets/mlflow_session_key")
export MLFLOW_FLASK_SERVER_SECRET_KEY
exec mlflow server --app-name basic-auth --host 0.0.0.0 --port 5000 \
    --artifacts-destination "${MLFLOW_ARTIFACTS:-s3://mlflow}" \
    --allowed-hosts "${MLFLOW_ALLOWED_HOSTS:-mlflow:5000,localhost:5000,127.0.0.1:5000}"
