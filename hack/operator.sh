# Sourced by hack/demo and hack/dev: the chart in a cluster, and the operator as a process with the chart's own ServiceAccount.
# shellcheck shell=bash
#
# The caller sets KUBECONFIG, the administrator's, before it calls anything but `prepare`.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
namespace=usher-system

# prepare TOOL…: builds what is missing, and puts `usher`, kubectl and helm on the PATH. USHER_BINARY=FILE is that one instead of a new one.
prepare() {
  "$repository/hack/install-tools" "$@"
  usher=${USHER_BINARY:-}
  [[ $usher ]] || build_usher || return 1
  PATH=${usher%/*}:$repository/.tools/bin:$PATH
}

build_usher() {
  command -v cargo >/dev/null || {
    echo "cargo is needed to build usher: install Rust first (https://rustup.rs)." >&2
    return 1
  }
  (cd "$repository" && cargo build --locked)
  usher=$(cd "$repository" && cargo metadata --locked --no-deps --format-version 1 | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')/debug/usher
}

# install_chart VALUE…: helm install, or upgrade if a release is there. Where no kubelet runs, or no image can be
# pulled, pods would only be in the way: the operator is a process.
install_chart() {
  local value values=(--set replicas=0)
  for value in "$@"; do values+=(--set "$value"); done
  helm upgrade --install usher "$repository/charts/usher" --namespace "$namespace" --create-namespace "${values[@]}" >/dev/null
}

# operator_kubeconfig FILE DURATION: how to reach the cluster as the chart's ServiceAccount, with exactly its rights.
operator_kubeconfig() {
  local file=$1 user
  # The token stands in a file of its own, as everybody can read the arguments of a process.
  (umask 077 && kubectl create token usher --namespace "$namespace" --duration "$2" >"$file.token")
  (umask 077 && kubectl config view --raw --minify --flatten >"$file")
  user=$(kubectl --kubeconfig "$file" config view -o 'jsonpath={.users[0].name}')
  kubectl --kubeconfig "$file" config delete-user "$user" >/dev/null
  kubectl --kubeconfig "$file" config set users.usher-operator.tokenFile "$file.token" >/dev/null
  kubectl --kubeconfig "$file" config set-context --current --user usher-operator --namespace "$namespace" >/dev/null
}

# operator_answers LOG PAGE: asks the operator, where its log says that it listens, for a page such as /readyz.
operator_answers() {
  local address answer
  address=$(sed -nE 's/.*address=([0-9.]+:[0-9]+).*/\1/p' "$1" | tail -n 1)
  [[ $address ]] || return 1
  answer=$(exec 3<>"/dev/tcp/${address%:*}/${address##*:}" && printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&3 && head -n 1 <&3) 2>/dev/null || return 1
  [[ $answer == *' 200 '* ]]
}

# wait_for_operator PID LOG: until it has read the cluster.
wait_for_operator() {
  local deadline=$((SECONDS + 60))
  until operator_answers "$2" /readyz; do
    if ! kill -0 "$1" 2>/dev/null || ((SECONDS > deadline)); then
      echo "the operator did not become ready; its log ends with:" >&2
      tail -n 20 "$2" | cut -c -400 | sed 's/^/    /' >&2
      return 1
    fi
    sleep 0.1
  done
}
