//! The `usher` command.
fn main() {
    for crd in usher::api::crds() { println!("{}", serde_json::to_string(&crd).unwrap()); }
}
