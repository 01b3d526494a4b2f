# Sourced by hack/install-tools and hack/systems/gitea: how servers are built from Go modules that this repository pins.
# They have `say`, `fail`, `complain LOG`, `watched LOG WHAT COMMAND…`, and a folder $work for what is thrown away.
# shellcheck shell=bash
# shellcheck disable=SC2154 # $work and go_flags are theirs

# go_setting MODULE NAME: the version of the module NAME in the go.mod of the folder MODULE without the v, or the Go it needs.
go_setting() { awk -v m="$2" '{ sub(/^require /, "") } $1 == m && $2 ~ /^v?[0-9]/ { sub(/^v/, "", $2); print $2; exit }' "$1/go.mod"; }

fetching() { printf '%d modules fetched' "$(grep -c '^go: downloading' "$1")"; }
compiling() {
  local last
  last=$(tail -n 1 "$1")
  printf 'compiled %d of at most %d packages%s' "$(wc -l <"$1")" "$total" "${last:+, just now ${last##*: }}"
}

# need_go MODULE WHAT [INSTEAD]: fails if there is no Go that can build WHAT, and says what to do.
need_go() {
  local needs has minor needs_minor remedy
  needs=$(go_setting "$1" go)
  remedy="Install it from https://go.dev/dl${3:+, $3}."
  command -v go >/dev/null || fail "Go $needs or newer is needed to build $2, and there is no 'go' on the PATH. $remedy"
  # An older Go fetches the one that is needed by itself, unless GOTOOLCHAIN=local forbids it.
  if ! has=$(cd "$1" && go env GOVERSION 2>"$work/go-version"); then
    complain "$work/go-version"
    fail "Go $needs or newer is needed to build $2. Install it from https://go.dev/dl, or set GOTOOLCHAIN=auto${3:+, $3}."
  fi
  # Before 1.21 go knows nothing of toolchains and would fail much later.
  case $has in
    go1.?* | go2.*) ;;
    *) has=go1.99 ;; # a development version
  esac
  minor=${has#go1.}
  minor=${minor%%[!0-9]*}
  needs_minor=${needs#1.}
  needs_minor=${needs_minor%%.*}
  ((${minor:-99} >= needs_minor)) || fail "Go $needs or newer is needed to build $2, this is $has. $remedy"
}

go_failed() { # LOG DISK
  complain "$1"
  fail "the build failed. What it needs is the Go module proxy (see 'go env GOPROXY'), $2 of disk and 4 GB of memory. Running it again goes on where it stopped."
}

# go_compile MODULE OUT DISK PACKAGE…: fetches and builds what the folder MODULE pins, with ${go_flags[@]}, into the folder OUT.
go_compile() {
  local module=$1 out=$2 disk=$3 here=$PWD
  shift 3
  cd "$module" || exit
  # Nothing of the caller's Go settings but where modules come from and where caches are.
  export GOFLAGS=-mod=readonly GOWORK=off GO111MODULE=on
  unset GOOS GOARCH GOEXPERIMENT
  watched "$work/list.log" fetching go list -deps "${go_flags[@]}" "$@" || go_failed "$work/list.log" "$disk"
  total=$(grep -vc '^go: ' "$work/list.log" || true)
  mkdir -p "$out"
  watched "$work/build.log" compiling go build -v -trimpath "${go_flags[@]}" -o "$out/" "$@" || go_failed "$work/build.log" "$disk"
  cd "$here" || exit
}
