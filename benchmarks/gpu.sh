#!/usr/bin/env bash
# The benchmarks of packed arrays and of sweeps on a GPU, in three commands of at most ten minutes each:
#
#   OUT=somewhere benchmarks/gpu.sh step unpacking
#   OUT=somewhere benchmarks/gpu.sh fit resnet
#   OUT=somewhere benchmarks/gpu.sh sweep
#
# All without arguments. Logs lie in $OUT, by default benchmarks/logs: what a part prints in
# gpu-PART.txt, its raw log beside it. A part that takes too long or fails does not stop the others.
set -u
cd "$(dirname "$0")/.."
logs=$PWD/benchmarks/logs out=${OUT:-$PWD/benchmarks/logs} python=${PYTHON:-python3}
mkdir -p "$logs" "$out"
# torch lives on the same device.
export PYTHONPATH=$PWD XLA_PYTHON_CLIENT_PREALLOCATE=false PYTHONUNBUFFERED=1

benchmark() { # name of the raw log without -gpu.jsonl, seconds, script and arguments
  local name=$1 seconds=$2 start=$SECONDS
  shift 2
  timeout "$seconds" "$python" "benchmarks/$@" --tag gpu 2>&1 | tee "$out/gpu-$name.txt"
  echo "$name: $((SECONDS - start)) s"
  [ "$logs" = "$out" ] || cp "$logs/$name-gpu.jsonl" "$out/"
}

[ $# -gt 0 ] || set -- step unpacking fit resnet sweep
for part; do
  case $part in
    step) # the trees of which a GPU's limits are said first; packed(tx) of 1,000 compiles for long
      benchmark step 440 step.py --methods adamw --trees resnet50 gpt2 large thousand \
        --blocks 24 --compiles 0 --without "fnopt as argument" "packed(tx)" ;;
    unpacking) benchmark unpacking 140 unpacking.py --blocks 30 --calls 10 ;;
    fit)
      benchmark fit 120 fit.py --rounds 7
      benchmark fit-fashion_mnist 120 fit.py --task fashion_mnist --noise --steps 200 --rounds 5 ;;
    resnet) benchmark resnet 320 resnet.py --blocks 24 --steps 20 ;;
    sweep) # the loops for 16 runs and for 1: their difference is 15 runs without compilation
      for runs in 16 1; do
        benchmark "sweep-$runs" 240 sweep.py --runs $runs --turns 1 --log "sweep-$runs"
      done
      benchmark sweep-curve 240 sweep.py --curve 1 16 64 256 1024 --turns 2 --log sweep-curve ;;
    *) echo "no part $part: step, unpacking, fit, resnet, sweep" >&2; exit 2 ;;
  esac
done
