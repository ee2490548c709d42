use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use tempfile::TempDir;

use super::{Binary, Locator};
use crate::cache::Cache;
use crate::error::Error;
use crate::version::Version;
use crate::wheel::{self, made_wheel};

/// A script that answers --version as a nats-server of that version does.
fn script(version: &str) -> String {
    format!("#!/bin/sh\necho 'nats-server: v{version}'\n")
}

/// A program at `folder/nats-server` with that text.
fn program(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("nats-server");
    fs::create_dir_all(folder).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A locator that sees nothing of this machine.
fn locator(root: &TempDir) -> Locator {
    Locator::new()
        .cache_dir(root.path().join("cache"))
        .temp_dir(root.path())
}

fn entries(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn the_named_server_wins_over_the_path_and_the_cache() {
    let root = TempDir::new().unwrap();
    let named = program(&root.path().join("named"), &script("2.20.0"));
    program(&root.path().join("path"), &script("2.30.0"));

    let found = locator(&root)
        .server(&named)
        .search_path(root.path().join("path"))
        .ensure()
        .unwrap();
    assert_eq!(found.path(), named);
    assert_eq!(found.version(), &Version::new(2, 20, 0));
}

#[test]
fn a_named_server_that_is_too_old_is_refused_naming_both_versions() {
    let root = TempDir::new().unwrap();
    let old = program(&root.path().join("old"), &script("2.9.1"));
    program(&root.path().join("path"), &script("2.30.0"));

    let refused = locator(&root)
        .server(&old)
        .search_path(root.path().join("path"))
        .ensure()
        .unwrap_err();
    assert!(matches!(refused, Error::TooOld { .. }), "{refused}");
    let expected = format!("found 2.9.1 at {}, need >= 2.14.0", old.display());
    assert!(refused.to_string().contains(&expected), "{refused}");
}

#[test]
fn a_named_server_that_does_not_run_is_refused_with_the_reason() {
    let root = TempDir::new().unwrap();
    let missing = root.path().join("missing");
    let refused = locator(&root).server(&missing).ensure().unwrap_err();
    assert!(matches!(refused, Error::DoesNotRun { .. }), "{refused}");
    assert!(refused.to_string().contains("No such file"), "{refused}");

    let other = program(root.path(), "#!/bin/sh\necho 'nats: v0.2.0'\n");
    let refused = locator(&root).server(other).ensure().unwrap_err();
    assert!(refused.to_string().contains("nats: v0.2.0"), "{refused}");
    assert!(
        refused.to_string().contains("TASKQ_NATS_SERVER"),
        "{refused}"
    );
}

#[test]
fn the_environment_names_the_server_and_the_cache() {
    let from = |variables: &'static [(&str, &str)]| {
        Locator::from_variables(move |name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.into())
        })
    };

    let locator = from(&[
        ("TASKQ_NATS_SERVER", "/opt/nats-server"),
        ("PATH", "/usr/bin"),
        ("TASKQ_CACHE_DIR", "/big"),
        ("XDG_CACHE_HOME", "/home/me/.caches"),
    ]);
    assert_eq!(
        locator.server.as_deref(),
        Some(Path::new("/opt/nats-server"))
    );
    assert_eq!(locator.search_path.as_deref(), Some(OsStr::new("/usr/bin")));
    assert_eq!(locator.cache_dir.as_deref(), Some(Path::new("/big")));

    let locator = from(&[
        ("TASKQ_NATS_SERVER", ""),
        ("XDG_CACHE_HOME", "/home/me/.caches"),
    ]);
    assert_eq!(locator.server, None);
    assert_eq!(
        locator.cache_dir.as_deref(),
        Some(Path::new("/home/me/.caches/taskq"))
    );

    let home = from(&[]).cache_dir.unwrap();
    assert!(home.ends_with(".cache/taskq"), "{home:?}");
}

#[test]
fn an_unfit_server_on_the_path_is_passed_over() {
    let root = TempDir::new().unwrap();
    let old = root.path().join("old");
    let broken = root.path().join("broken");
    let fit = root.path().join("fit");
    program(&old, &script("2.9.1"));
    program(&broken, "no program");
    let expected = program(&fit, &script("2.14.0"));

    let path = std::env::join_paths([&old, &broken, &fit]).unwrap();
    let found = locator(&root).search_path(path).locate().unwrap();
    assert_eq!(found.as_ref().map(Binary::path), Some(&*expected));

    let mut passed_over = Vec::new();
    let nothing = locator(&root).search_path(&old).find(&mut passed_over);
    assert_eq!(nothing.unwrap(), None);
    assert_eq!(passed_over.len(), 1);
    assert!(
        passed_over[0].starts_with("found 2.9.1 at "),
        "{passed_over:?}"
    );
}

#[test]
fn a_fetched_server_is_found_again() {
    let root = TempDir::new().unwrap();
    let wheel = made_wheel(&script(wheel::VERSION));
    assert_eq!(locator(&root).locate().unwrap(), None);

    let kept = locator(&root).keep(&wheel).unwrap();
    let folder = root.path().join("cache/nats-server").join(wheel::VERSION);
    assert_eq!(kept.path(), folder.join("nats-server"));
    assert_eq!(locator(&root).locate().unwrap(), Some(kept));
    assert_eq!(entries(&folder), ["nats-server"], "nothing else is left");
}

#[test]
fn a_broken_server_in_the_cache_is_replaced() {
    let root = TempDir::new().unwrap();
    let cache = Cache::new(root.path().join("cache"));
    program(cache.server().parent().unwrap(), "half a serv");
    assert_eq!(locator(&root).locate().unwrap(), None);

    let kept = locator(&root).keep(&made_wheel(&script(wheel::VERSION)));
    assert_eq!(kept.unwrap().path(), cache.server());
}

#[test]
fn a_cache_folder_that_cannot_be_written_still_works() {
    let root = TempDir::new().unwrap();
    // Below a regular file not even root can make a folder.
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let locator = locator(&root).cache_dir(file.join("cache"));

    let kept = locator.keep(&made_wheel(&script(wheel::VERSION))).unwrap();
    assert!(kept.path().starts_with(root.path()), "{kept:?}");
    assert_eq!(
        locator.locate().unwrap(),
        Some(kept),
        "the next one finds it"
    );
}

#[test]
fn a_temporary_folder_that_others_can_write_is_not_trusted() {
    let root = TempDir::new().unwrap();
    let shared = Cache::temporary(root.path()).unwrap();
    let planted = program(shared.server().parent().unwrap(), &script("2.99.0"));
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o777)).unwrap();

    let locator = Locator::new().temp_dir(root.path());
    assert_eq!(locator.locate().unwrap(), None);
    let kept = locator.keep(&made_wheel(&script(wheel::VERSION))).unwrap();
    assert_ne!(kept.path(), planted);
    assert_eq!(kept.version().to_string(), wheel::VERSION);
}

#[test]
fn many_can_keep_a_server_at_once() {
    let root = TempDir::new().unwrap();
    let wheel = made_wheel(&script(wheel::VERSION));
    let locator = locator(&root);

    thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| locator.keep(&wheel)))
            .collect();
        for one in all {
            let kept = one.join().unwrap().unwrap();
            assert!(kept.path().starts_with(root.path().join("cache")));
        }
    });
}
