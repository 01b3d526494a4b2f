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

# ---- install -------------------------------------------------------------------------------

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
  rm -f "$dir/.idle" "$dir/env"
  [[ -z $temporary ]] || remove_dir
  echo bye >&8
  exit "$status"
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

# ---- ports, certificates, secrets ----------------------------------------------------------

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null 8>&-; }

# Sets `port` to one that nobody listens on right now; below the range from which the kernel gives ports to clients.
# Somebody may still be quicker: then the server says so, and gets another one.
free_port() {
  port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000))
  while listens "$port"; do port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000)); done
}

# Those of the last run in this DIR, so that what refers to them stays right, or else new ones.
choose_ports() {
  local one
  ports=()
  if [[ -s $dir/ports ]]; then
    read -r -a ports <"$dir/ports"
    rm -f "$dir/ports" # should they be taken, the next try is with others
    for one in "${ports[@]}"; do ! listens "$one" || ports=(); done
  fi
  while ((${#ports[@]} < ports_needed)); do
    free_port
    ports+=("$port")
  done
}

# A certificate authority that is thrown away with DIR, and the server's certificate by it, in DIR/pki.
make_certificates() {
  pki=$dir/pki
  [[ ! -e $pki/complete ]] || return 0
  mkdir -p "$pki"
  cat >"$pki/openssl.cnf" <<'END'
[req]
distinguished_name = subject
prompt = no
[subject]
CN = usher
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1,DNS:localhost
END
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config "$pki/openssl.cnf" -extensions ca \
    -keyout "$pki/ca.key" -out "$pki/ca.crt" -subj "/CN=$system-ca" -days 3650 -sha256 2>/dev/null
  certificate server "/CN=$system"
  : >"$pki/complete"
}

certificate() { # NAME SUBJECT: NAME.crt and NAME.key for a server on loopback
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config "$pki/openssl.cnf" \
    -keyout "$pki/$1.key" -subj "$2" 2>/dev/null |
    openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -set_serial "$((RANDOM * 32768 + RANDOM + 2))" \
      -days 3650 -sha256 -extfile "$pki/openssl.cnf" -extensions server -out "$pki/$1.crt" 2>/dev/null
}

# make_secret NAME: prints a password that stays the same in this DIR.
make_secret() {
  mkdir -p "$dir/secrets"
  [[ -s $dir/secrets/$1 ]] || openssl rand -hex 16 >"$dir/secrets/$1"
  cat "$dir/secrets/$1"
}

# get PORT PATH [HEADER…]: asks over HTTPS; the whole answer goes to `answer`, true if it is a 200.
get() {
  local to=$1 path=$2
  shift 2
  answer=$({
    printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1:%s\r\n' "$path" "$to"
    (($# == 0)) || printf '%s\r\n' "$@"
    printf '\r\n'
  } | "${at_most_5s[@]}" openssl s_client -quiet -verify_return_error -verify_ip 127.0.0.1 -connect "127.0.0.1:$to" \
    -CAfile "$pki/ca.crt" 2>/dev/null 8>&-) || true
  [[ $answer == HTTP/1.?' 200'* ]]
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
