#!/usr/bin/env bash
# The whole pipeline at small size: data, training, generation, evaluation, a page and an MLflow server with it all.
# The first picture is by the small model that is part of fourreal; then a model of your own is trained.
# Every command is printed before it runs, so that it can be typed again. Run again, finished work is not redone.
#
#   infra/demo.sh [OUTPUT_FOLDER]      VIDEOS=folder  uses your own videos instead of drawn ones
set -euo pipefail

out=${1:-outputs/demo}
mkdir -p "$out"
out=$(cd "$out" && pwd)
videos=${VIDEOS:-$out/videos}
grid=(--views 4 --times 4 --height 64 --width 96)
gentle=(--camera.arc-degrees 5 25 --fps 12) # moves that minutes of training can learn

run() {
    printf '\n\033[1m$ %s\033[0m\n' "$*"
    "$@"
}

# A real MLflow server on loopback takes the runs; `make ui` shows them afterwards from the same store.
mlflow_port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
python -m fourreal.platform.ui --port "$mlflow_port" >"$out/mlflow-server.log" 2>&1 &
mlflow_server=$!
export MLFLOW_TRACKING_URI=http://127.0.0.1:$mlflow_port # where the data jobs leave their records too
trap 'kill "$mlflow_server" 2>/dev/null || true; wait "$mlflow_server" 2>/dev/null || true' EXIT

[ -n "${VIDEOS:-}" ] || run fourreal sample-videos --out "$videos" --count 24
run fourreal render --assets procedural:6 --out "$out/held-out" "${grid[@]}" "${gentle[@]}" --seed 1000
run fourreal generate --conditions "$out/held-out" --out "$out/first"
run fourreal inspect "$out/first"
run fourreal render --assets procedural:64 --out "$out/rendered" "${grid[@]}" "${gentle[@]}" --seed 0
run fourreal synthesize --videos "$videos" --out "$out/synthesized" "${grid[@]}" --stride 4
run fourreal inspect "$out/rendered"

until python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1])' \
    "http://127.0.0.1:$mlflow_port/health" 2>/dev/null; do
    kill -0 "$mlflow_server" 2>/dev/null || { echo "the MLflow server ended: see $out/mlflow-server.log"; exit 1; }
    sleep 1
done
run fourreal train --recipe demo --data "$out/rendered" "$out/synthesized" --out "$out/training"
run fourreal generate --model "$out/training/model" --conditions "$out/held-out" --out "$out/generated" --steps 4
run fourreal evaluate --predictions "$out/generated" --references "$out/held-out" --out "$out/evaluation" \
    --register demo --model "$out/training/model"
run fourreal view "$out/first" "$out/generated" "$out/held-out" --out "$out/page.html"

cat <<END

Done. What the demo made:
  first picture  $out/first/contact-sheet.png   (by the model that is part of fourreal)
  shards         $out/rendered, $out/synthesized, $out/held-out, $out/generated
  contact sheet  $out/rendered/contact-sheet.png
  model          $out/training/model
  scores         $out/evaluation
  page           $out/page.html   (open it in a browser: move through views and times)
  MLflow         make ui          (then http://127.0.0.1:5000: training, evaluation, pictures, the page)
END
