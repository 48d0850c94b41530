//! Compiles `proto/` with protox: no `protoc` to install.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../proto");
    let files = ["entry", "state", "bundle", "invite", "sync", "peer", "join"]
        .map(|f| format!("lattice/v1/{f}.proto"));
    let descriptors = protox::compile(files, ["../proto"])?;
    prost_build::Config::new().bytes(["."]).btree_map(["."]).compile_fds(descriptors)?;
    Ok(())
}
