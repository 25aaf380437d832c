#!/usr/bin/env bash
# Trains `mini` from wherever it stands: renders and caches the views, then one stage after another; what is finished is
# skipped. SIGTERM or SIGINT is passed on to the stage at work, which saves and ends; the next start goes on.
#
#   setsid tools/train_mini.sh > mini.log 2>&1 &
#
# IMAGPOSE_RUNS     folder of all runs and caches (runs/mini)
# IMAGPOSE_THREADS  CPU threads (1)
# PYTHON            interpreter (.venv/bin/python where it is, else python3)
set -u
cd "$(dirname "$0")/.." || exit 1
runs=${IMAGPOSE_RUNS:-runs/mini}
threads=${IMAGPOSE_THREADS:-1}
default=python3
[ -x .venv/bin/python ] && default=.venv/bin/python
python=${PYTHON:-$default}
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 OMP_NUM_THREADS=$threads

# Command of `imagpose train`, name of its configuration in configs/mini.
stages=(
    "autoencoder autoencoder"
    "autoencoder-finish autoencoder_finish"
    "encoder encoder"
    "pose-estimator pose_estimator"
    "silhouette silhouette"
    "identity identity"
    "appearance-flow appearance_flow"
    "denoiser denoiser"
)

child=
stopping=
stop() {
    stopping=yes
    [ -n "$child" ] && kill -TERM "$child" 2> /dev/null
}
trap stop TERM INT

# Runs a command so that a signal is passed on and its end awaited; returns its status.
passing_signals_on() {
    "$@" &
    child=$!
    [ -n "$stopping" ] && kill -TERM "$child" # the signal came before the command did
    local status
    while :; do
        wait "$child"
        status=$?
        kill -0 "$child" 2> /dev/null || break # otherwise a signal has ended the waiting only
    done
    child=
    return $status
}

mkdir -p "$runs/configs" || exit 1
for stage in "${stages[@]}"; do
    read -r command name <<< "$stage"
    [ -n "$stopping" ] && break
    config="$runs/configs/$name.yaml"
    sed "s#runs/mini#$runs#g" "configs/mini/$name.yaml" > "$config" || exit 1
    echo "$(date -u +%FT%TZ) $command: begins or goes on"
    passing_signals_on "$python" -m imagpose train "$command" --config "$config" --resume latest "threads=$threads"
    status=$?
    # A stage that was told to stop ends with 0, as one that is finished.
    [ -n "$stopping" ] && break
    if [ $status -ne 0 ]; then
        echo "$(date -u +%FT%TZ) $command failed with status $status" >&2
        exit $status
    fi
done
if [ -n "$stopping" ]; then
    echo "$(date -u +%FT%TZ) stopped; the same command goes on"
else
    echo "$(date -u +%FT%TZ) finished: $runs/denoiser/weights"
fi
