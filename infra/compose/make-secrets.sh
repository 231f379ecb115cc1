#!/bin/sh
# Writes the secrets of the Compose stack, each random, into infra/compose/secrets (or $1); keeps those that are there.
# Only you can enter the folder; the files can be read by the containers' users, which are others.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 700 "$folder"
random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
keep() {
    [ -s "$folder/$1" ] || cat >"$folder/$1"
    chmod 644 "$folder/$1"
}
for name in ray_token postgres_password mlflow_admin mlflow_session_key grafana_admin s3_access_key s3_secret_key; do
    random | keep "$name"
done
access=$(cat "$folder/s3_access_key") secret=$(cat "$folder/s3_secret_key")
keep s3.json <<END
{"identities": [{"name": "fourreal", "credentials": [{"accessKey": "$access", "secretKey": "$secret"}],
                 "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
END
printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$access" "$secret" | keep aws_credentials
printf '[mlflow]\nmlflow_tracking_username = admin\nmlflow_tracking_password = %s\n' "$(cat "$folder/mlflow_admin")" |
    keep mlflow_credentials
echo "secrets: $folder"
