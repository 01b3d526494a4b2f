# Sourced by hack/demo and hack/demo-full: how they tell what they do, wait, and end; a control plane and the operator.
# shellcheck shell=bash
#
# Nothing is left when it ends. USHER_PATIENCE=SECONDS is how long what takes a moment may take (default: 15).

# shellcheck source=hack/operator.sh
. "$(dirname "${BASH_SOURCE[0]}")/operator.sh"
patience=${USHER_PATIENCE:-15}

if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi

# ---- telling -------------------------------------------------------------------------------

step=0
title() {
  step=$((step + 1))
  printf '\n%s%d. %s%s\n' "$bold" "$step" "$1" "$plain"
}
say() { printf '%s\n' "$*"; }

# As one would type it: with quotes where the shell needs them, and without our temporary folder.
shown() {
  local word words=''
  for word in "$@"; do
    word=${word//$work\//}
    if [[ $word =~ ^[A-Za-z0-9_./=:,@%+*-]+$|^[|\>]$ ]]; then words+=" $word"; else words+=" '${word//\'/\'\\\'\'}'"; fi
  done
  printf '%s$%s%s\n' "$dim" "$words" "$plain"
}

# run COMMAND…: shows a command, runs it, and fails with it.
run() {
  shown "$@"
  "$@" || failed "this should have succeeded"
}

failed() {
  printf '\n%sThe demo failed: %s%s\n' "$bold" "$1" "$plain" >&2
  if [[ -s $work/operator.log ]]; then
    say "The operator's log ends with:" >&2
    grep -vE ' (DEBUG|TRACE) ' "$work/operator.log" | tail -n 20 | cut -c -400 | sed 's/^/    /' >&2
  fi
  exit 1
}

# answers WORDS COMMAND…: shows a command and its output, which has to contain WORDS; or be it for =WORDS; or be matched by it
# from end to end for ~REGEX. Whether it succeeds is no matter.
# What was written a moment ago may take a server some milliseconds, and a token 10 s: so it is asked until then.
answers() {
  local words=$1 deadline=$((SECONDS + patience)) output
  shift
  shown "$@"
  [[ $words ]] || failed "nothing is expected of “$*”, which everything would be"
  until output=$("$@" 2>&1 || true) && is_answer "$words" "$output"; do
    ((SECONDS < deadline)) || failed "this should have said “$words”, and said “$output”"
    sleep 0.2
  done
  printf '%s\n' "$output"
}

is_answer() { # WORDS OUTPUT
  case $1 in
    =*) [[ $2 == "${1#=}" ]] ;;
    ~*) [[ $2 =~ ^(${1#\~})$ ]] ;;
    *) [[ $2 == *"$1"* ]] ;;
  esac
}

# until_there_are COUNT WHAT…: waits, without a word.
until_there_are() {
  local deadline=$((SECONDS + patience)) found
  until found=$(kubectl get "${@:2}" -o name | wc -l) && ((found == $1)); do
    ((SECONDS < deadline)) || failed "there should be $1 of “${*:2}”, and there are $found"
    sleep 0.2
  done
}

# ---- cleaning up ---------------------------------------------------------------------------

work='' operator='' plane_PID='' stagehands=()
declare -A system_pid=() system_dir=() system_input=()

end() {
  local status=$?
  trap '' INT TERM HUP
  trap - EXIT
  set +e
  if [[ $operator ]]; then
    kill -TERM "$operator" 2>/dev/null
    wait "$operator" 2>/dev/null
  fi
  if [[ ${plane_PID:-} ]]; then
    local pid=$plane_PID
    exec {plane_input}>&- # and that is its end
    wait "$pid" 2>/dev/null
  fi
  local at
  for ((at = ${#stagehands[@]} - 1; at >= 0; at--)); do end_stagehand "${stagehands[at]}"; done
  [[ ! ${USHER_EVIDENCE:-} || ! $work ]] || leave_evidence
  [[ ! $work ]] || rm -rf "$work"
  ((status != 130)) || say "Interrupted; nothing is left running."
  exit "$status"
}

# What the operator said, for hack/no-secrets: see there.
leave_evidence() {
  local evidence file
  [[ $USHER_EVIDENCE != "$work"/* ]] || return 0
  evidence=$(mktemp -d "$USHER_EVIDENCE/demo.XXXXXX")
  for file in "$work"/operator.* "$work"/*.secrets; do
    [[ ! -e $file || $file == *kubeconfig* ]] || cp "$file" "$evidence"
  done
}

# stagehand PID:INPUT: a server that ends when its input does. The last one first, as each has inherited the inputs of those before it.
end_stagehand() {
  local pid=${1%:*} input=${1#*:} ticks=300
  exec {input}>&-
  while kill -0 "$pid" 2>/dev/null && ((ticks-- > 0)); do sleep 0.05; done
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- the stage -----------------------------------------------------------------------------

# start_control_plane OPTION…: those of hack/control-plane.
start_control_plane() {
  local line=''
  coproc plane { exec hack/control-plane run "$@"; }
  plane_input=${plane[1]}
  read -r line <&"${plane[0]}" || failed "there is no control plane; what is above says why"
  export KUBECONFIG=${line#ready }/kubeconfig
}

start_operator() {
  install_chart environments.default=false starterRoles=false
  operator_kubeconfig "$work/operator.kubeconfig" 24h
  KUBECONFIG=$work/operator.kubeconfig usher run --namespace "$namespace" --listen 127.0.0.1:0 >"$work/operator.out" 2>"$work/operator.log" &
  operator=$!
  wait_for_operator "$operator" "$work/operator.log" || exit 1
  wait_for_kinds
}

# Some moments after a kind was declared the API server refuses its objects: its admission policies do not know it yet.
wait_for_kinds() {
  local deadline=$((SECONDS + 60)) file refused
  for file in environments roles people bindings provider-scim; do
    until refused=$(kubectl create --dry-run=server -f "examples/$file.yaml" 2>&1) || [[ $refused == *AlreadyExists* ]]; do
      ((SECONDS < deadline)) || failed "the cluster refuses examples/$file.yaml: $refused"
      sleep 0.2
    done
  done
}

# start_system NAME: one of hack/systems. It begins to start; see `system_ready`.
start_system() {
  local input
  exec {input}> >(exec "hack/systems/$1" run >>"$work/$1.out" 2>"$work/$1.log")
  system_pid[$1]=$!
  system_input[$1]=$input
  stagehands+=("$!:$input")
}

# system_ready NAME: waits until it answers. Its files are in ${system_dir[NAME]}.
system_ready() {
  local deadline=$((SECONDS + 240))
  until [[ -s $work/$1.out ]]; do
    { ((SECONDS < deadline)) && kill -0 "${system_pid[$1]}" 2>/dev/null; } || failed "hack/systems/$1 says: $(tail -n 5 "$work/$1.log")"
    sleep 0.1
  done
  system_dir[$1]=$(sed -n 's/^ready //p' "$work/$1.out")
}

# order_system NAME ORDER ANSWER: tells its script something, and waits until that says so.
order_system() {
  local deadline=$((SECONDS + 240))
  : >"$work/$1.out"
  echo "$2" >&"${system_input[$1]}"
  until grep -q "^$3" "$work/$1.out"; do
    ((SECONDS < deadline)) || failed "hack/systems/$1 does not $2: $(tail -n 5 "$work/$1.log")"
    sleep 0.1
  done
}
