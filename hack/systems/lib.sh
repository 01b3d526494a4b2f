# Sourced by hack/systems/NAME: what all scripts that install and run a real outside system share.
# shellcheck shell=bash
#
# A script has a head comment (its --help), sets `ports_needed` and `passing` if it must, defines
# these, and ends with `main "$@"`:
#
#   wanted          prints what is to be installed, in one line; when it changes, everything is installed again
#   installed       true if the stamp does not lie; without this function the stamp is believed
#   install_system  installs into $home (exists) and may use $work (goes at the end)
#   option NAME V   takes an option of `run`; false if there is none of that name; may be left out
#   prepare         makes what DIR needs before the first start, certificates are there; may be left out
#   launch_system   calls `launch NAME COMMAND…` for each process, $system's own name for the main one; listens on ${ports[@]}
#   answers         true once the server really answers (this is asked again and again)
#   after_start     what only a running server can be told, after every start: let it be idempotent; may be left out
#   describe        sets env=(KEY VALUE …), what DIR/env says besides HOST, PORT, CA_FILE, PID

export LC_ALL=C

systems=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
system=$(basename "$0")
tools=${systems%/hack/systems}/.tools
home=$tools/systems/$system
started_at=${EPOCHREALTIME:-$SECONDS}

ports_needed=1
passing='' # a grep -E pattern: what a server may say when it ends because it was started a moment too early

say() { printf '%s: %s\n' "$system" "$*" >&2; }
fail() {
  say "$*"
  exit 1
}
usage() { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0"; }
has() { declare -F "$1" >/dev/null; } # a function
sha256() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi; }
seconds_since() { awk -v a="$1" -v b="${EPOCHREALTIME:-$SECONDS}" 'BEGIN { printf "%.1f", b - a }'; }

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || fail "this needs bash 4.4 or newer, and this one is $BASH_VERSION"

# shellcheck source=hack/systems/install.sh
. "$systems/install.sh"
# shellcheck source=hack/systems/loopback.sh
. "$systems/loopback.sh"

# ---- processes -----------------------------------------------------------------------------

declare -A running=() # the process id of each server by its name
paused=()             # those of all processes that are, their children too
run_as=()             # in front of a server: a command that makes it another user's

# The watchdog reads which processes there are, “+PID” and “-PID”. When this shell is gone it reads the end of the
# file; unless that was announced by “bye” it kills what is left. For this shell has no chance to do that itself
# after a SIGKILL. It also holds the lock on $dir until then.
start_watchdog() {
  exec 8> >(
    trap '' INT TERM HUP QUIT
    exec >/dev/null 2>&1
    cd /
    pids=' '
    while read -r line; do
      case $line in
        +*) pids+="${line#+} " ;;
        -*) pids=${pids/ ${line#-} / } ;;
        bye) exit 0 ;;
      esac
    done
    for pid in $pids; do kill_now "$pid"; done
    [[ -z $temporary ]] || remove_dir
  )
}

alive() { kill -0 "$1" 2>/dev/null; }

# Each process that this script starts leads a group, so what it has started itself goes with it.
kill_now() {
  kill -KILL "$1" 2>/dev/null || true
  kill -KILL -- "-$1" 2>/dev/null || true
}

# The last process of a server may be writing still.
remove_dir() {
  local i
  for i in 1 2 3 4 5; do ! rm -rf "$dir" 2>/dev/null || return 0; sleep "0.$i"; done
}

# launch NAME COMMAND…: a server, out of the terminal's reach, that dies when this shell dies. It writes to $dir/NAME.log.
launch() {
  local name=$1 log=$dir/$1.log
  shift
  [[ ! -e $log ]] || mv -f "$log" "$log.before" # nobody shall take its word for this one's
  : >"$log"
  "${own_session[@]}" "${run_as[@]}" "${bound_to_us[@]}" "$@" >>"$log" 2>&1 </dev/null 8>&- 7>&- 6>&- &
  running[$name]=$!
  disown "$!"
  echo "+$!" >&8
}

# stop TICKS PID…: asks them to end, and kills them after that many times 50 ms.
stop() {
  local ticks=$1 pid any
  shift
  ((ticks == 0)) || for pid in "$@"; do kill -TERM "$pid" 2>/dev/null || true; done
  while ((ticks > 0)); do
    any=''
    for pid in "$@"; do ! alive "$pid" || any=1; done
    [[ $any ]] || break
    sleep 0.05
    ticks=$((ticks - 1))
  done
  for pid in "$@"; do
    kill_now "$pid"
    echo "-$pid" >&8
  done
}

# gone PID…: waits until those that were killed are: they hold their ports until then, and these are wanted again.
gone() {
  local pid ticks=200
  for pid in "$@"; do
    while alive "$pid" && ((ticks-- > 0)); do sleep 0.02; done
  done
}

shut_down() {
  local status=$?
  trap '' INT TERM HUP
  trap - EXIT
  set +e
  # shellcheck disable=SC2086 # empty or a number
  stop 20 $installer_pid
  release KILL
  # Whoever stands still for another reason does not end either, and throw-away data needs no farewell.
  if [[ $temporary ]]; then stop 0 "${running[@]}"; else stop 60 "${running[@]}"; fi
  [[ ! $evidence ]] || leave_evidence
  rm -f "$dir/.idle" "$dir/env"
  [[ -z $temporary ]] || remove_dir
  echo bye >&8
  exit "$status"
}

# USHER_EVIDENCE=DIR: for hack/no-secrets logs and secrets go into a folder of their own there at the end. The mark says whom
# it has to wait for.
begin_evidence() {
  evidence=''
  [[ ${USHER_EVIDENCE:-} ]] || return 0
  mkdir -p "$USHER_EVIDENCE"
  evidence=$(mktemp -d "$USHER_EVIDENCE/$system.XXXXXX")
  echo $$ >"$evidence/.running"
}

leave_evidence() {
  local file
  for file in "$dir"/*.log "$dir"/*.log.before "$dir"/realm-*.env "$dir"/secrets; do
    [[ ! -e $file ]] || cp -R "$file" "$evidence"
  done
  rm -f "$evidence/.running"
}

# freeze PID: stops it, then all that it has started. They do not notice if it goes, so the watchdog has to know them.
freeze() {
  local one
  kill -STOP "$1" 2>/dev/null || return 0
  paused+=("$1")
  echo "+$1" >&8
  for one in $(children_of "$1"); do freeze "$one"; done
}

children_of() {
  if [[ -r /proc/$1/task/$1/children ]]; then
    cat "/proc/$1"/task/*/children 2>/dev/null
  else
    ps -A -o pid= -o ppid= | awk -v parent="$1" '$2 == parent { print $1 }'
  fi
}

# release SIGNAL: continues what is paused, or kills it.
release() {
  local one
  for one in "${paused[@]}"; do
    kill "-$1" "$one" 2>/dev/null || true
    echo "-$one" >&8
  done
  paused=()
}

# pause SECONDS: waits, and ends everything if the caller has gone.
pause() {
  if [[ $caller_holds_pipe ]]; then
    local said=''
    IFS= read -r -t "$1" -u 0 said || (($? > 128)) || exit 0
    [[ ! $said ]] || order=$said
  else
    IFS= read -r -t "$1" -u 7 _ || true
  fi
}

stopped_by_itself() { # NAME
  complain "$dir/$1.log"
  [[ ! $temporary ]] || say "to keep the logs, run it with --dir DIR"
  fail "$1 stopped"
}

# Sets `ended` to the name of a server that has.
one_has_ended() {
  local name
  for name in "${!running[@]}"; do
    if ! alive "${running[$name]}"; then
      ended=$name
      return 0
    fi
  done
  return 1
}

# wait_until WHAT COMMAND…: false if a server ends meanwhile.
wait_until() {
  local what=$1 since=$SECONDS beat=$((SECONDS + 15))
  shift
  until "$@"; do
    ! one_has_ended || return 1
    pause 0.05
    if ((SECONDS >= beat)); then
      say "still waiting until $what ($((SECONDS - since)) s)"
      beat=$((SECONDS + 15))
    fi
    ((SECONDS - since < 240)) ||
      fail "gave up waiting until $what. Look into the logs in $dir (run with --dir DIR to keep them); is the machine very busy, or its disk full?"
  done
}

# ---- run -----------------------------------------------------------------------------------

write_env() {
  env=()
  describe
  printf '%s=%q\n' HOST 127.0.0.1 PORT "${ports[0]}" CA_FILE "$pki/ca.crt" PID "${running[$system]}" "${env[@]}" >"$dir/.env"
  mv -f "$dir/.env" "$dir/env" # whole or not at all
}

# start [same]: launches the servers and waits for them, if need be on other ports.
start() {
  local try
  for try in {1..20}; do
    launch_system
    ! wait_until "$system answers" answers || break
    { ((try < 20)) && try_again "${1:-}"; } || stopped_by_itself "$ended"
  done
  ! has after_start || after_start
  echo "${ports[*]}" >"$dir/ports"
  write_env
  say "ready after $(seconds_since "$started_at") s; try: . $dir/env"
  echo "ready $dir"
}

# After a server ended in `start`: is it worth another try?
try_again() {
  local log=$dir/$ended.log
  stop 0 "${running[@]}"
  running=()
  if [[ $passing ]] && grep -Eq "$passing" "$log"; then
    pause 0.1
  elif grep -qi 'address already in use' "$log" && [[ $1 != same ]]; then
    choose_ports
  else
    return 1
  fi
}

# As after a crash: whoever watched must notice by himself.
restart() {
  started_at=${EPOCHREALTIME:-$SECONDS}
  release KILL
  stop 0 "${running[@]}"
  gone "${running[@]}"
  running=()
  start same
}

# As if the machine hung: connections are taken, and nothing is answered.
pause_servers() {
  local pid
  for pid in "${running[@]}"; do freeze "$pid"; done
  echo paused
}

resume_servers() {
  release CONT
  echo resumed
}

obey() { # ORDER
  order=''
  case $1 in
    restart) restart ;;
    pause) pause_servers ;;
    resume) resume_servers ;;
    *) say "unknown command '$1', see hack/systems/$system --help" ;;
  esac
}

# A caller who holds the pipe may have killed the server, and may start it again. Without one that is the end.
stay_in_front() {
  local noticed=''
  while :; do
    pause 1
    if [[ $order ]]; then
      obey "$order"
      noticed=''
    elif one_has_ended && [[ $noticed != "$ended" ]]; then
      [[ $caller_holds_pipe ]] || stopped_by_itself "$ended"
      say "$ended stopped"
      noticed=$ended
    fi
  done
}

parse_options() {
  dir='' temporary=''
  while (($#)); do
    (($# > 1)) || fail "$1 needs a value, see hack/systems/$system --help"
    case $1 in
      --dir) dir=$2 ;;
      *) { has option && option "$1" "$2"; } || fail "unknown option '$1', see hack/systems/$system --help" ;;
    esac
    shift 2
  done
}

make_dir() {
  umask 077
  if [[ $dir ]]; then
    mkdir -p "$dir"
  else
    dir=$(mktemp -d "${TMPDIR:-/tmp}/usher-$system.XXXXXX")
    temporary=1
  fi
  dir=$(cd "$dir" && pwd)
  if command -v flock >/dev/null; then
    exec 6>"$dir/.lock"
    flock -w 2 6 || fail "$system runs in $dir already: use it, or end it first"
  fi
  rm -f "$dir/env" # that of a run that was killed
}

find_helpers() {
  command -v openssl >/dev/null || fail "openssl is needed for the certificates: install it"
  own_session=() bound_to_us=() at_most_5s=()
  if command -v setsid >/dev/null; then
    own_session=(setsid)
  elif command -v perl >/dev/null; then
    # shellcheck disable=SC2016 # Perl's own
    own_session=(perl -MPOSIX -e 'POSIX::setsid(); exec @ARGV or die "$ARGV[0]: $!\n"')
  fi
  if command -v setpriv >/dev/null && setpriv --pdeathsig KILL true 2>/dev/null; then
    bound_to_us=(setpriv --pdeathsig KILL --)
  fi
  if command -v timeout >/dev/null; then at_most_5s=(timeout 5); fi
}

hold_pipe() {
  { : <&0; } 2>/dev/null || exec </dev/null # it was closed
  caller_holds_pipe='' order=''
  if [[ -p /dev/stdin ]]; then
    caller_holds_pipe=1
  else
    rm -f "$dir/.idle"
    mkfifo "$dir/.idle"
    exec 7<>"$dir/.idle" # never says anything, to wait on
  fi
}

# In a process of its own: whoever ends the script in the middle of it need not wait.
install_first() {
  "${own_session[@]}" "${bound_to_us[@]}" bash "$0" install </dev/null >&2 8>&- 7>&- 6>&- &
  installer_pid=$!
  echo "+$installer_pid" >&8
  while alive "$installer_pid"; do pause 0.02; done
  wait "$installer_pid" || fail "without that there is no $system"
  echo "-$installer_pid" >&8
  installer_pid=''
  started_at=${EPOCHREALTIME:-$SECONDS}
}

run() {
  installer_pid=''
  parse_options "$@"
  find_helpers
  make_dir
  hold_pipe
  begin_evidence
  start_watchdog
  trap shut_down EXIT
  trap 'exit 0' INT TERM HUP
  install_first
  # Nothing of the caller's may change what the servers do.
  unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY
  export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost
  make_certificates
  ! has prepare || prepare
  choose_ports
  start
  stay_in_front
}

main() {
  case ${1:-} in
    install) install_once ;;
    run)
      shift
      run "$@"
      ;;
    -h | --help) usage ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
}
