#!/bin/sh
# usage: size.sh LIBRARY MARVER-RUN
# What is shipped stays small, and the library needs nothing but the C library.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
check() {
  strip -o "$work/stripped" "$1"
  bytes=$(wc -c <"$work/stripped")
  echo "$(basename "$1"): $bytes bytes stripped, $2 allowed"
  [ "$bytes" -le "$2" ] || status=1
}
check "$1" 150000
check "$2" 600000
needed=$(objdump -p "$1" | awk '$1 == "NEEDED" { print $2 }' | grep -v '^libc\.so\|^ld-linux' || true)
if [ -n "$needed" ]; then
  echo "$(basename "$1") needs $needed"
  status=1
fi
exit $status
