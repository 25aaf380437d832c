#!/usr/bin/env bash
# Trains mini's denoiser within nine minutes on one H100 or H200 with 16 CPU cores: a short-lived machine without network
# that gets this tree and `.gpu/`, and gives back what lies in $OUT (8 files of 16 MiB at most).
#
#   tools/train_mini_gpu.sh prepare         here: wheels, autoencoder, image encoder -> .gpu; the package's UNet aside
#   tools/train_mini_gpu.sh run             there: renders, caches, trains; half-precision EMA weights every two minutes
#   tools/train_mini_gpu.sh restore         here: the package's UNet back
#   tools/train_mini_gpu.sh join DIR OUT    here: a pipeline of what came back, for `initial:` or `imagpose train export`
#
# prepare, join: IMAGPOSE_RUNS (runs/mini) holds the trained autoencoder and encoder; PYTHON is the interpreter.
# run: IMAGPOSE_GPU_SECONDS (540) for all, IMAGPOSE_GPU_RENDER (110) of them for rendering, IMAGPOSE_GPU_CACHE (8)
# processes that cache; arguments after `run` are further key=value of the denoiser. It starts from `.gpu/initial`, a
# pipeline's folder, where there is one, and goes on where a run on the same machine was ended.
set -u
cd "$(dirname "$0")/.." || exit 1
home=$PWD
default=python3
[ -x .venv/bin/python ] && default=.venv/bin/python
python=${PYTHON:-$default}
export PYTHONPATH="$home/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

# What the machine lacks; its image holds the rest of pyproject.toml's dependencies.
wheels="diffusers requests urllib3 certifi idna charset-normalizer importlib-metadata pydantic pydantic-core annotated-types typing-inspection"
needed="accelerate diffusers einops numpy PIL pyarrow pydantic requests rich safetensors scipy skimage tensorboard torch \
transformers typer yaml"
limit_mib=64

# In place of the configuration's: one grid, because each is compiled for itself (about a minute); phases of as many
# canvases in larger batches; no decay, because how many steps fit is not known; nothing measured but the curve. The run
# on a CPU goes on from there with its own.
last_phase="{low_resolution_share: 0.1, pure_noise_share: 0.1}"
faster=(
    "phases=[{steps: 800, low_resolution_share: 1.0, pure_noise_share: 1.0}, \
        {steps: 800, low_resolution_share: 1.0, pure_noise_share: 0.2}, $last_phase]"
    precision=bf16 compile=true workers=12 batch_size=32 "grids={2x2: 1.0}"
    steps=1000000 lr_schedule=constant_with_warmup warmup_steps=300 ema_decay=0.998 export_minutes=2
    checkpoint_every=1000000 validate_every=1000000 sample_every=1000000 progress_every=100000 data.block=512
)

configured() { # FOLDER: mini's denoiser with its runs in FOLDER
    mkdir -p "$1" && sed "s#runs/mini#${2:-$1}#g" configs/mini/denoiser.yaml > "$1/denoiser.yaml" && echo "$1/denoiser.yaml"
}

aside() { echo "$(git rev-parse --absolute-git-dir)/mini-unet-aside"; }

prepare() {
    local exclude config
    exclude=$(git rev-parse --git-path info/exclude)
    grep -qxF /.gpu/ "$exclude" 2> /dev/null || { mkdir -p "$(dirname "$exclude")" && echo /.gpu/ >> "$exclude"; }
    mkdir -p .gpu/wheels && rm -f .gpu/wheels/*.whl
    local platforms=()
    for libc in 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${libc}_x86_64"); done
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version "${IMAGPOSE_GPU_PYTHON:-3.12}" \
        --implementation cp "${platforms[@]}" --platform manylinux2014_x86_64 --constraint constraints.txt \
        --dest .gpu/wheels $wheels || return 1
    config=$(configured .gpu "${IMAGPOSE_RUNS:-runs/mini}") || return 1
    "$python" tools/mini_gpu.py frozen --config "$config" --out .gpu || return 1
    if [ -d src/imagpose/weights/mini/unet ]; then
        mv src/imagpose/weights/mini/unet "$(aside)" || return 1
    fi
    local kib
    kib=$({ git ls-files -z --cached --others --exclude-standard; find .gpu -type f -print0; } |
        xargs -0 du -k --apparent-size 2> /dev/null | awk '{ sum += $1 } END { print sum }')
    echo "what travels, .gpu included: $((kib / 1024)) MiB of $limit_mib"
    [ "$kib" -lt $((limit_mib * 1024)) ]
}

restore() { [ ! -d "$(aside)" ] || mv "$(aside)" src/imagpose/weights/mini/unet; }

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

bring_out() { # the EMA weights, and what tells of the run; nothing where there is nothing new
    local facts=$work/denoiser/weights/training.json
    [ -f "$facts" ] && [ "$(cat "$facts")" != "${brought:-}" ] || return 0
    local now
    now=$(cat "$facts") || return 0
    CUDA_VISIBLE_DEVICES= "$python" tools/mini_gpu.py pieces --run "$work/denoiser" --out "$OUT/pieces" || return 0
    tar -C "$work/denoiser" --ignore-failed-read -cf "$OUT/records.tar" $(cd "$work/denoiser" && ls -d progress progress.csv 2> /dev/null) \
        weights/training.json 2> /dev/null
    [ "$(cat "$facts" 2> /dev/null)" = "$now" ] || return 0 # replaced meanwhile: once more
    brought=$now
    echo "== pieces: $(tr -d '\n ' < "$facts")"
}

run() {
    local budget=${IMAGPOSE_GPU_SECONDS:-540} people block first_seed config left
    : "${OUT:?a folder for the results}"
    mkdir -p "$OUT"
    work=${IMAGPOSE_GPU_WORK:-$home/runs/gpu}
    section install
    mkdir -p "$work" && install || return 1
    config=$(configured "$work")
    settings=("autoencoder=$home/.gpu/autoencoder" "image_encoder=$home/.gpu/image_encoder" threads=1 "${faster[@]}")
    # Phases count a run's own steps: what has been trained already has the first ones behind it.
    [ -d .gpu/initial ] && settings+=("initial=$home/.gpu/initial" "phases=[$last_phase]")
    settings+=("$@")

    section render
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

    section cache
    OMP_NUM_THREADS=1 cache "$people" "$block" "${IMAGPOSE_GPU_CACHE:-8}" || return 1

    section train
    left=$((budget - SECONDS - 25))
    [ "$left" -ge 10 ] || { echo "no time is left to train" >&2; return 1; }
    "$python" -m imagpose train denoiser --config "$config" --resume latest --stop-after "${left}s" \
        "${settings[@]}" "data.identities=$people" &
    local training=$!
    trap 'kill -TERM $training 2> /dev/null' TERM INT
    while kill -0 "$training" 2> /dev/null; do
        sleep 1
        bring_out
    done
    wait "$training"
    local status=$?
    section "last pieces"
    bring_out
    section end
    return $status
}

case ${1:-} in
    prepare | restore) "$1" ;;
    run) shift; run "$@" ;;
    join) "$python" tools/mini_gpu.py join --pieces "$2" --frozen .gpu --out "$3" ;;
    *) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit 2 ;;
esac
