# Sourced by hack/systems/lib.sh: installs a system once, from package registries, into an ignored folder.
# shellcheck shell=bash

child='' work=''

is_installed() {
  local stamp=''
  [[ -r $home/.stamp ]] && read -r stamp <"$home/.stamp" && [[ $stamp == "$want" ]] || return 1
  ! has installed || installed
}

clean_up() {
  [[ ! $child ]] || kill "$child" 2>/dev/null || true
  [[ ! $work ]] || rm -rf "$work"
}

install_once() {
  want=$(wanted)
  ! is_installed || return 0
  umask 022 # a server may be another user's
  mkdir -p "$home"
  # One at a time; whoever waited finds the work done.
  if command -v flock >/dev/null; then
    exec 9>"$home/.lock"
    if ! flock -n 9; then
      say "another install is at work in this checkout; waiting for it …"
      flock 9
    fi
    ! is_installed || return 0
  fi
  trap clean_up EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  rm -f "$home/.stamp"
  work=$(mktemp -d "$tools/systems/.building.XXXXXX")
  install_system
  printf '%s\n' "$want" >"$work/stamp"
  mv -f "$work/stamp" "$home/.stamp"
  say "installed in $SECONDS s"
}

# watched LOG WHAT COMMAND…: runs COMMAND with its output in LOG, and shows every 15 seconds that it lives:
# the function WHAT is given LOG and says how far it is.
watched() {
  local log=$1 what=$2 beat=$((SECONDS + 15)) status=0
  shift 2
  "$@" >"$log" 2>&1 </dev/null 9>&- &
  child=$!
  while alive "$child"; do
    sleep 0.2
    if ((SECONDS >= beat)); then
      say "  … $SECONDS s: $("$what" "$log")"
      beat=$((SECONDS + 15))
    fi
  done
  wait "$child" || status=$?
  child=''
  return "$status"
}

last_line() { tail -n 1 "$1" | cut -c -200; } # a WHAT for `watched`

complain() { # LOG: shows how it ends
  say "the last lines of ${1##*/} are:"
  tail -n 20 "$1" | cut -c -400 | sed 's/^/    /' >&2
}

# debian WHAT PACKAGE…: installs Debian or Ubuntu packages that are missing. Root installs them for the whole machine,
# anybody else unpacks them into $home/debian: the caller looks there for what it wants. No server is started.
debian() {
  local what=$1 by_hand
  shift
  by_hand="install it by hand: apt-get update && apt-get install --no-install-recommends $*"
  command -v apt-get >/dev/null ||
    fail "$what is needed, and there is no apt-get to install it. On Debian and Ubuntu its packages are: $*"
  if ((EUID == 0)); then
    watched "$work/apt.log" last_line apt_as_root "$@"
  else
    watched "$work/apt.log" last_line apt_unpack "$@"
  fi || {
    complain "$work/apt.log"
    fail "$what is needed; $by_hand"
  }
}

apt=(apt-get -qq -o DPkg::Lock::Timeout=300)

# In a session of its own: dpkg is not to be killed in the middle, whatever becomes of who called it.
apt_as_root() {
  # shellcheck disable=SC2016 # the inner shell's
  DEBIAN_FRONTEND=noninteractive setsid bash -c '
    policy=/usr/sbin/policy-rc.d # says that no service may be started
    if [[ ! -e $policy ]]; then
      trap "rm -f $policy" EXIT
      (umask 022 && printf "#!/bin/sh\nexit 101\n" >$policy && chmod 755 $policy)
    fi
    "${@:2:$1}" "${@:$1 + 2}" && exit # lists may be missing, or too old
    "${@:2:$1}" update && "${@:2:$1}" "${@:$1 + 2}"
  ' apt_as_root "${#apt[@]}" "${apt[@]}" install -y --no-install-recommends "$@"
}

# With what they depend on, unless it is on the machine already.
apt_unpack() {
  local names file
  names=$(apt-get install -s --no-install-recommends "$@" | awk '$1 == "Inst" { print $2 }')
  [[ $names ]] || return 1
  mkdir -p "$work/packages" "$home/debian"
  # shellcheck disable=SC2086 # a list
  (cd "$work/packages" && "${apt[@]}" download $names) || return 1
  for file in "$work"/packages/*.deb; do dpkg-deb -x "$file" "$home/debian"; done
}

# Where unpacked programs find unpacked libraries; does nothing if there are none.
use_unpacked_libraries() {
  local folder
  for folder in "$home"/debian/usr/lib/*-linux-gnu*; do
    [[ ! -d $folder ]] || export LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  done
}
