#!/bin/sh
# usage: c.sh BUILD SOURCE CC MODULE CMAKE
# Installs the runtime to a temporary prefix and builds and runs the C example.
set -eu
build=$1 source=$2 cc=$3 module=$4 cmake=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$cmake" --install "$build" --prefix "$work/prefix" --component runtime >/dev/null
cp -r "$source/examples/c" "$work/c"
cd "$work/c"

# The sum of two tensors of ones, as often as SIZE says.
expect() {
  got=$("$@" "$module" add 3)
  want='output 0: f32 [3, 4] 2 2 2 2 2 2 2 2'
  if [ "$got" != "$want" ]; then
    echo "$*: printed '$got' instead of '$want'" >&2
    exit 1
  fi
}

"$cmake" -S . -B build -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" -DCMAKE_C_COMPILER="$cc" \
  -DCMAKE_C_FLAGS='-Wall -Wextra -Werror' >/dev/null
"$cmake" --build build >/dev/null
expect build/run-model
expect build/run-model-static

pc=$(dirname "$(find "$work/prefix" -name marver.pc)")
export PKG_CONFIG_PATH="$pc"
"$cc" -std=c11 $(pkg-config --cflags marver) run-model.c -o run-model \
  $(pkg-config --libs marver) -Wl,-rpath,"$(pkg-config --variable=libdir marver)"
expect ./run-model
if command -v make >/dev/null; then
  rm run-model
  make -s CC="$cc"
  expect ./run-model
fi

# Errors: one line and exit 1.
if ./run-model "$module" nothing 2>error || [ "$(wc -l <error)" -ne 1 ]; then
  echo "run-model with a wrong name did not fail in one line" >&2
  exit 1
fi

# The headers alone, as C and as C++.
for header in marver abi format sidecar; do
  echo "#include <marver/$header.h>" >header.c
  "$cc" -std=c11 -Wall -Wextra -Werror -pedantic -Wno-unused-function -I"$work/prefix/include" -fsyntax-only header.c
  "$cc" -x c++ -std=c++17 -Wall -Wextra -Werror -pedantic -Wno-unused-function -I"$work/prefix/include" -fsyntax-only header.c
done
