#!/usr/bin/env bash
# Mix and train on a machine of its own: train.sh PACK WORK OUT [train options]
#
# PACK is the folder of pack.py, WORK gets the mixtures, OUT the results. Mixtures are made on all cores but one, and
# the training begins as soon as some are there and takes up the rest as they come. See README.md.
set -euo pipefail
pack=$1 work=$2 out=$3
shift 3
minutes=${MINUTES:-8} hours=${HOURS:-200} valid_hours=${VALID_HOURS:-0.3} device=${DEVICE:-auto} python=${PYTHON:-python3}
jobs=${JOBS:-$(($(nproc) > 1 ? $(nproc) - 1 : 1))}
percepnet=("$python" -m percepnet_cli)
mkdir -p "$work" "$out"

# all recordings of a split are used: pack.py has parted them
targets() { # targets SPLIT HOURS SEED
    local from=$pack/$1 optional=()
    [ -d "$from/music" ] && optional+=(--music "$from/music/table.tsv")
    [ -d "$from/rir" ] && optional+=(--rir "$from/rir/table.tsv")
    "${percepnet[@]}" train-targets "$work/$1" --speech "$from/speech/table.tsv" --noise "$from/noise/table.tsv" \
        "${optional[@]}" --split all --hours "$2" --seed "$3" --jobs "$jobs" --quiet
}
targets validation "$valid_hours" 1
targets train "$hours" 0 >"$out/train-targets.log" 2>&1 &
mixing=$!
trap 'kill $mixing 2>/dev/null || true' EXIT

# the first shards
until compgen -G "$work/train/shard-*.safetensors" >/dev/null; do
    if ! kill -0 $mixing 2>/dev/null; then
        wait $mixing || true
        compgen -G "$work/train/shard-*.safetensors" >/dev/null || { cat "$out/train-targets.log" >&2; exit 1; }
    fi
    sleep 1
done

# the machine may go away at any time: the budget is trained time, and the float16 weights are written every minute
"${percepnet[@]}" train "$work/train" "$work/validation" "$out" --device "$device" --minutes "$minutes" --model-minutes 1 "$@"
