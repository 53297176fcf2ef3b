#!/bin/sh
# usage: install.sh BUILD CMAKE
# Installs everything to a temporary prefix; what is there works without the build.
set -eu
build=$1 cmake=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$cmake" --install "$build" --prefix "$work/prefix" >/dev/null
cat >"$work/add.mlir" <<'MLIR'
func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
  %e = tensor.empty() : tensor<2xf32>
  %r = linalg.add ins(%x, %x : tensor<2xf32>, tensor<2xf32>) outs(%e : tensor<2xf32>) -> tensor<2xf32>
  return %r : tensor<2xf32>
}
MLIR
cd "$work"
installed() { env -i "$work/prefix/bin/$@"; }
installed marver-compile add.mlir
installed marver-audit add.mv --source add.mlir >/dev/null
got=$(installed marver-run add.mv --input='2xf32=1 2')
if [ "$got" != 'result[0]: 2xf32=2 4' ]; then
  echo "marver-run printed '$got'" >&2
  exit 1
fi
installed marver-bench add.mv --input=2xf32=1 --benchmark_min_time=1x >/dev/null 2>bench.log ||
  { cat bench.log >&2; exit 1; }
