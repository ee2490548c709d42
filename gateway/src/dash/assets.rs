//! What a page needs besides itself: styles and scripts, in the program.
//!
//! Their address holds a hash of all of them, so a browser keeps them for ever
//! and has new ones as soon as the program does.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($name:literal: $kind:expr,)*) => {
        &[$(($name, $kind, include_bytes!(concat!("../../assets/", $name)))),*]
    };
}

/// Name, type and content of each.
const ASSETS: &[(&str, &str, &[u8])] = assets! {
    "app.css": "text/css; charset=utf-8",
    "app.js": SCRIPT,
    "act.js": SCRIPT,
    "feed.js": SCRIPT,
    "keys.js": SCRIPT,
    "live.js": SCRIPT,
    "morph.js": SCRIPT,
    "query.js": SCRIPT,
    "icon.svg": "image/svg+xml",
};

/// The first part of the SHA-256 of all of them.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for (name, _, content) in ASSETS {
        hash.update(name.as_bytes());
        hash.update(content);
    }
    let hash = hash.finalize();
    hash[..6].iter().map(|byte| format!("{byte:02x}")).collect()
});

/// The same, made small.
static PACKED: LazyLock<Vec<Option<Bytes>>> = LazyLock::new(|| {
    let packed = ASSETS.iter().map(|(_, _, content)| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(content).ok()?;
        gzip.finish().ok().map(Bytes::from)
    });
    packed.collect()
});

/// Where one of them is, from the root of the gateway.
pub(super) fn address(name: &str) -> String {
    format!("assets/{}/{name}", *HASH)
}

/// `GET /assets/{hash}/{name}`.
pub(super) async fn serve(
    Path((hash, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(place) = ASSETS.iter().position(|asset| asset.0 == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (_, kind, content) = ASSETS[place];
    // A page of another version may still ask during an update.
    let keep = if hash == *HASH {
        "public, max-age=31536000, immutable"
    } else {
        "no-store"
    };
    let takes_gzip = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("gzip"));
    let mut response = match &PACKED[place] {
        Some(packed) if takes_gzip => {
            ([(header::CONTENT_ENCODING, "gzip")], packed.clone()).into_response()
        }
        _ => Bytes::from_static(content).into_response(),
    };
    let of = response.headers_mut();
    of.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    of.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static(keep),
    );
    of.insert(
        header::VARY,
        header::HeaderValue::from_static("accept-encoding"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_assets_together_are_small_and_name_no_other_host() {
        let size: usize = ASSETS.iter().map(|asset| asset.2.len()).sum();
        assert!(size < 150_000, "{size} bytes");
        for (name, _, content) in ASSETS {
            let text = String::from_utf8_lossy(content);
            let others = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!others.contains("://"), "{name} names another host");
        }
    }
}
