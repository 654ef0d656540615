//! Generates the gRPC messages, with a compiler of its own: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=proto");
    #[cfg(feature = "grpc")]
    grpc::generate()?;
    Ok(())
}

#[cfg(feature = "grpc")]
mod grpc {
    use std::{env, error::Error, fs, path::PathBuf};

    use prost::Message;

    pub(super) fn generate() -> Result<(), Box<dyn Error>> {
        let files = protox::compile(["lunasec/v1/tokenizer.proto"], ["proto"])?;
        let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
        fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;
        // Messages hold tokens and values: what they print is written by hand.
        prost_build::Config::new().bytes(["."]).skip_debug(["."]).compile_fds(files)?;
        Ok(())
    }
}
