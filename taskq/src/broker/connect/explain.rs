//! Why a connection could not be made, in words that say what to do.

use std::error::Error as StdError;
use std::io;
use std::path::Path;

use async_nats::rustls::{AlertDescription, CertificateError, Error as TlsError};
use async_nats::{ConnectError, ConnectErrorKind, ServerError};
use base64::Engine as _;
use serde::Deserialize;

use super::ConnectOptions;
use crate::error::{Error, ErrorKind};
use crate::time::Timestamp;

/// The error of an attempt to connect, if another attempt would end the same
/// way; none if the server may just not be up yet.
pub(super) fn explain(options: &ConnectOptions, error: &ConnectError) -> Option<Error> {
    let url = options.public_url();
    if let Some(error) = find::<TlsError>(error) {
        return Some(Error::new(
            ErrorKind::Connect,
            format!("cannot connect to NATS at {url}: {}", tls(options, error)),
        ));
    }
    let refused = find::<ServerError>(error).is_some_and(|error| {
        let text = error.to_string().to_ascii_lowercase();
        text.contains("authorization") || text.contains("authentication expired")
    });
    match error.kind() {
        // Signing goes wrong here, not at the server.
        ConnectErrorKind::Authentication => Some(Error::new(
            ErrorKind::Unauthorized,
            "cannot sign in to NATS: the seed of the nkey is none; check NATS_NKEY, or the file \
             that NATS_CREDS names",
        )),
        ConnectErrorKind::AuthorizationViolation => Some(unauthorized(options, &url)),
        _ if refused => Some(unauthorized(options, &url)),
        ConnectErrorKind::Tls | ConnectErrorKind::ServerParse => Some(Error::new(
            ErrorKind::Connect,
            format!(
                "cannot connect to NATS at {url}: {error}; check NATS_URL, NATS_CA, NATS_CERT and \
                 NATS_KEY"
            ),
        )),
        _ => None,
    }
}

fn unauthorized(options: &ConnectOptions, url: &str) -> Error {
    let (who, mend) = if let Some(path) = &options.creds {
        let mend = match expired(path) {
            Some(at) => format!("they expired at {at}: get new ones"),
            None => "check NATS_CREDS".to_owned(),
        };
        (format!("the credentials in {}", path.display()), mend)
    } else if options.nkey.is_some() {
        ("this nkey".to_owned(), "check NATS_NKEY".to_owned())
    } else if options.token.is_some() {
        ("this token".to_owned(), "check NATS_TOKEN".to_owned())
    } else if let Some((user, _)) = &options.user {
        (
            format!("user `{user}` with this password"),
            "check NATS_USER and NATS_PASSWORD".to_owned(),
        )
    } else if options.url != url {
        (
            "what the address names".to_owned(),
            "check NATS_URL, or set NATS_USER and NATS_PASSWORD".to_owned(),
        )
    } else {
        (
            "a client without credentials".to_owned(),
            "set NATS_USER and NATS_PASSWORD, NATS_TOKEN, NATS_NKEY or NATS_CREDS".to_owned(),
        )
    };
    Error::new(
        ErrorKind::Unauthorized,
        format!("the NATS server at {url} refused {who}; {mend}"),
    )
}

/// What is wrong with TLS, and what to do.
fn tls(options: &ConnectOptions, error: &TlsError) -> String {
    use AlertDescription as Alert;
    match error {
        TlsError::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => match &options.ca {
            Some(path) => format!(
                "the server's certificate is not signed by the authority in {}; set NATS_CA to \
                 the file of the one that signed it",
                path.display()
            ),
            None => "no authority that this machine trusts has signed the server's certificate; \
                     set NATS_CA to the file of the one that did"
                .to_owned(),
        },
        TlsError::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => "the server's certificate is not valid today; renew it on the server, or set this \
              machine's clock"
            .to_owned(),
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server's certificate is for another host; set NATS_URL to a name that it is for"
            .to_owned(),
        TlsError::AlertReceived(Alert::CertificateRequired) => {
            "the server asks for a certificate of this client; set NATS_CERT and NATS_KEY"
                .to_owned()
        }
        TlsError::AlertReceived(
            Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateUnknown
            | Alert::CertificateExpired
            | Alert::CertificateRevoked
            | Alert::UnsupportedCertificate
            | Alert::DecryptError,
        ) => match &options.identity {
            Some((cert, _)) => format!(
                "the server refused the certificate in {}; set NATS_CERT and NATS_KEY to one that \
                 its authority has signed and that is valid today",
                cert.display()
            ),
            None => "the server asks for a certificate of this client; set NATS_CERT and NATS_KEY"
                .to_owned(),
        },
        TlsError::InvalidMessage(_) => {
            "the server does not speak TLS there; unset NATS_CA, or turn TLS on at the server"
                .to_owned()
        }
        other => format!("TLS failed: {other}; check NATS_CA, NATS_CERT and NATS_KEY"),
    }
}

/// The first error of a type among an error and its causes.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // An I/O error passes over what it holds when it is asked for its
        // cause.
        let held = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}

/// When the JWT in a file of credentials expired, if it has.
fn expired(path: &Path) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let text = std::fs::read_to_string(path).ok()?;
    let jwt = text.lines().find(|line| line.starts_with("ey"))?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(jwt.split('.').nth(1)?)
        .ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    let at = Timestamp::from_millis(exp.checked_mul(1000)?);
    (exp > 0 && at < Timestamp::now()).then_some(at)
}
