# shellcheck shell=bash
# What the set-up scripts of edge boxes share: a step is looked at first, done only where it is needed, and looked at again.
# Sourced. Sets nothing up by itself. DRY_RUN=1 prints the commands and runs none; ROOT is where files of the system lie.

: "${DRY_RUN:=0}" "${ROOT:=}"
BAD=0

say() { printf '%s\n' "$*"; }
die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit "${2:-1}"
}

# run COMMAND…: prints it; runs it unless this is a dry run.
run() {
  printf '    $ %s\n' "$*"
  [ "$DRY_RUN" = 1 ] || "$@"
}

# as_root COMMAND…: with sudo, unless this is root already.
as_root() {
  if [ "$(id -u)" = 0 ]; then run "$@"; else run sudo "$@"; fi
}

# step TITLE CHECK MEND: CHECK and MEND are functions. A dry run looks as well, and only says what it would do.
step() {
  if "$2" >/dev/null 2>&1; then
    say "✓ $1"
    return 0
  fi
  say "… $1"
  if ! "$3"; then
    BAD=1
    say "✗ $1: the last command failed; mend it and run this script again" >&2
    return 0
  fi
  [ "$DRY_RUN" = 1 ] && return 0
  if "$2" >/dev/null 2>&1; then
    say "✓ $1"
  else
    BAD=1
    say "✗ $1: still not so after the commands above" >&2
  fi
}

# note TITLE CHECK COMMAND: something that the user decides; never changed here.
note() {
  if "$2" >/dev/null 2>&1; then say "✓ $1"; else say "! $1 → $3"; fi
}

in_group() { id -nG "${SUDO_USER:-$(id -un)}" | tr ' ' '\n' | grep -qx "$1"; }
has_package() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

groups_are_set() {
  local group
  for group in video render; do
    getent group "$group" >/dev/null || continue
    in_group "$group" || return 1
  done
}
set_groups() {
  local group
  for group in video render; do
    getent group "$group" >/dev/null && ! in_group "$group" && as_root usermod -aG "$group" "${SUDO_USER:-$(id -un)}"
  done
  say "    (a new login, or: newgrp render, makes it so)"
}

# finish: what Backbench itself finds, by a real inference of each runtime.
finish() {
  say "what Backbench finds (each line with the command that mends it):"
  run .venv/bin/backbench doctor || BAD=1
  [ "$BAD" = 0 ] || die "not all is well: see the lines with ✗" 1
}
