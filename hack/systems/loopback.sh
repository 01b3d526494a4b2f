# Sourced by hack/systems/lib.sh: free ports of 127.0.0.1, certificates for it, and secrets.
# shellcheck shell=bash

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
