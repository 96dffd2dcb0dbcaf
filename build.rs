//! Compiles `proto/` without protoc, three times into OUT_DIR, because three readers want different Rust types:
//!
//! - `service`: the server's trait; a request is its bytes, so that decoding happens off the I/O threads;
//! - `messages`: the server's messages; lists of typed rows become columns while they are read;
//! - `client`: plain messages and a client, for the load generator and the tests.

use std::path::PathBuf;

const SERVER: &str = "crate::server::grpc";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let folder = |name: &str| -> std::io::Result<PathBuf> {
        let folder = out.join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    };
    let files = protox::compile(["adlake/v1/ingest.proto"], ["proto"])?;

    tonic_prost_build::configure()
        .build_client(false)
        .codec_path(format!("{SERVER}::codec::RequestCodec"))
        .extern_path(".adlake.v1", format!("{SERVER}::messages"))
        .extern_path(".adlake.v1.AppendRequest", format!("{SERVER}::codec::RequestBytes"))
        .out_dir(folder("service")?)
        .compile_fds(files.clone())?;

    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .bytes(".adlake.v1.AppendRequest")
        .extern_path(".adlake.v1.Impressions", format!("{SERVER}::rows::Rows<{SERVER}::shapes::Impressions>"))
        .extern_path(".adlake.v1.Clicks", format!("{SERVER}::rows::Rows<{SERVER}::shapes::Clicks>"))
        .extern_path(".adlake.v1.Conversions", format!("{SERVER}::rows::Rows<{SERVER}::shapes::Conversions>"))
        .extern_path(".adlake.v1.Impression", "()")
        .extern_path(".adlake.v1.Click", "()")
        .extern_path(".adlake.v1.Conversion", "()")
        .out_dir(folder("messages")?)
        .compile_fds(files.clone())?;

    tonic_prost_build::configure().build_server(false).out_dir(folder("client")?).compile_fds(files)?;
    Ok(())
}
