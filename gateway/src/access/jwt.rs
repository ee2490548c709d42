//! JWTs: tokens that somebody else signs, such as a company's sign-on.
//!
//! A key counts for one algorithm only, which it has and not the token: so no
//! token can have a public key taken for a secret, and none goes unsigned.

use std::path::Path;
use std::sync::Once;

use anyhow::{Context as _, anyhow, bail};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult, new_error};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::signature::{Error as Refused, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Validation};
use ring::hmac;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};

use super::{Role, Watched};

/// By how much clocks may differ, in seconds.
const LEEWAY: u64 = 60;
/// The shortest secret, in bytes: that of its algorithm's hash.
const SHORTEST: usize = 32;
/// The longest name, in bytes.
const LONGEST_NAME: usize = 128;

/// Which JWTs are taken.
#[derive(Clone, Debug)]
pub struct JwtRules {
    /// Whom they must be for; anybody if there is none.
    pub audience: Option<String>,
    /// Who must have made them; anybody with a key if there is none.
    pub issuer: Option<String>,
    /// The claim that has the role, or several: `role`, or `a.b` within `a`.
    pub role_claim: String,
    /// The claim that has the name.
    pub name_claim: String,
}

/// The keys of a file, and which tokens are taken.
#[derive(Clone, Debug)]
pub(super) struct Jwt {
    keys: Watched<Vec<Key>>,
    rules: JwtRules,
}

#[derive(Debug)]
struct Key {
    /// Its name; none of a secret or a PEM file.
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Jwt {
    pub(super) fn read(path: &Path, rules: JwtRules) -> anyhow::Result<Self> {
        let keys = Watched::text(path, "keys of JWTs", parse)?;
        Ok(Self { keys, rules })
    }

    pub(super) fn parse(text: &str, rules: JwtRules) -> anyhow::Result<Self> {
        let keys = Watched::fixed(parse(text)?);
        Ok(Self { keys, rules })
    }

    /// Whose token this is, and what they may do.
    pub(super) fn who(&self, token: &str) -> Option<(String, Role)> {
        match self.check(token) {
            Ok(known) => Some(known),
            Err(error) => {
                tracing::debug!("a JWT is refused: {error}");
                None
            }
        }
    }

    fn check(&self, token: &str) -> anyhow::Result<(String, Role)> {
        install();
        let header = jsonwebtoken::decode_header(token)?;
        let keys = self.keys.get();
        let fits = keys.iter().filter(|key| {
            key.algorithm == header.alg && (key.id.is_none() || key.id == header.kid)
        });
        let mut error = anyhow!("no key has its `kid` and its algorithm");
        for key in fits {
            let validation = self.validation(key.algorithm);
            match jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(read) => return self.known(&read.claims),
                Err(why) => error = why.into(),
            }
        }
        Err(error)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        let mut needed = vec!["exp"];
        match &self.rules.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                needed.push("aud");
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &self.rules.issuer {
            validation.set_issuer(&[issuer]);
            needed.push("iss");
        }
        validation.set_required_spec_claims(&needed);
        validation
    }

    fn known(&self, claims: &Map<String, Value>) -> anyhow::Result<(String, Role)> {
        let name = claim(claims, &self.rules.name_claim).and_then(Value::as_str);
        let name = name.with_context(|| format!("it has no `{}`", self.rules.name_claim))?;
        let fits =
            !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(char::is_control);
        if !fits {
            bail!("its `{}` is no name", self.rules.name_claim);
        }
        let roles = match claim(claims, &self.rules.role_claim) {
            Some(Value::String(role)) => vec![role.as_str()],
            Some(Value::Array(roles)) => roles.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let roles = roles
            .into_iter()
            .filter_map(|role| role.parse::<Role>().ok());
        let role = roles
            .max()
            .with_context(|| format!("its `{}` has none of the roles", self.rules.role_claim))?;
        Ok((name.to_owned(), role))
    }
}

/// A claim of this name, or, with dots, within others.
fn claim<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    claim(claims.get(first)?.as_object()?, rest)
}

/// Reads a set of keys (JWKS), a public key in PEM form, or a secret.
fn parse(text: &str) -> anyhow::Result<Vec<Key>> {
    let text = text.trim();
    if text.starts_with('{') {
        return parse_set(text);
    }
    if text.starts_with("-----BEGIN") {
        let (algorithm, key) = match DecodingKey::from_ed_pem(text.as_bytes()) {
            Ok(key) => (Algorithm::EdDSA, key),
            Err(_) => {
                let key = DecodingKey::from_rsa_pem(text.as_bytes());
                let key = key.context("it is no public key of RSA or Ed25519 in PEM form")?;
                (Algorithm::RS256, key)
            }
        };
        if text.contains("PRIVATE") {
            bail!("it is a private key; only its owner should have it: give the public one");
        }
        let id = None;
        return Ok(vec![Key { id, algorithm, key }]);
    }
    if text.len() < SHORTEST {
        bail!(
            "a secret has {SHORTEST} bytes at least, this one {}; `openssl rand -hex 32` makes one",
            text.len()
        );
    }
    Ok(vec![Key {
        id: None,
        algorithm: Algorithm::HS256,
        key: DecodingKey::from_secret(text.as_bytes()),
    }])
}

fn parse_set(text: &str) -> anyhow::Result<Vec<Key>> {
    let set: JwkSet = serde_json::from_str(text).context("it is no set of keys (JWKS)")?;
    let mut keys = Vec::new();
    for key in &set.keys {
        let signs = !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
        let of = key.common.key_algorithm;
        let algorithm = match (&key.algorithm, of) {
            (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
            (AlgorithmParameters::OctetKeyPair(pair), None | Some(KeyAlgorithm::EdDSA))
                if pair.curve == EllipticCurve::Ed25519 =>
            {
                Algorithm::EdDSA
            }
            (AlgorithmParameters::OctetKey(_), None | Some(KeyAlgorithm::HS256)) => {
                Algorithm::HS256
            }
            _ => continue,
        };
        if signs {
            keys.push(Key {
                id: key.common.key_id.clone(),
                algorithm,
                key: DecodingKey::from_jwk(key)?,
            });
        }
    }
    if keys.is_empty() {
        bail!("there is no key in it for RS256, EdDSA (Ed25519) or HS256");
    }
    Ok(keys)
}

/// Has signatures checked by `ring`, which TLS is by too.
fn install() {
    static ONCE: Once = Once::new();
    static RING: CryptoProvider = CryptoProvider {
        signer_factory: no_signer,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    ONCE.call_once(|| {
        // Whoever was first has a provider that knows these algorithms too.
        let _ = RING.install_default();
    });
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> JwtResult<Box<dyn JwtSigner>> {
    Err(new_error(ErrorKind::InvalidAlgorithm))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    if key.family() != algorithm.family() {
        return Err(new_error(ErrorKind::InvalidAlgorithm));
    }
    match algorithm {
        Algorithm::HS256 | Algorithm::RS256 | Algorithm::EdDSA => Ok(Box::new(ByRing {
            algorithm: *algorithm,
            key: key.kind().clone(),
        })),
        _ => Err(new_error(ErrorKind::InvalidAlgorithm)),
    }
}

struct ByRing {
    algorithm: Algorithm,
    key: DecodingKeyKind,
}

impl Verifier<Vec<u8>> for ByRing {
    fn verify(&self, text: &[u8], mark: &Vec<u8>) -> Result<(), Refused> {
        let good = match (&self.key, self.algorithm) {
            (DecodingKeyKind::SecretOrDer(secret), Algorithm::HS256) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::verify(&key, text, mark)
            }
            (DecodingKeyKind::SecretOrDer(key), Algorithm::RS256) => {
                UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, key)
                    .verify(text, mark)
            }
            (DecodingKeyKind::RsaModulusExponent { n, e }, Algorithm::RS256) => {
                RsaPublicKeyComponents { n, e }.verify(
                    &signature::RSA_PKCS1_2048_8192_SHA256,
                    text,
                    mark,
                )
            }
            (DecodingKeyKind::SecretOrDer(key), Algorithm::EdDSA) => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(text, mark)
            }
            _ => return Err(Refused::new()),
        };
        good.map_err(|_| Refused::new())
    }
}

impl JwtVerifier for ByRing {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
    use ring::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
    use serde_json::json;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    /// Of these tests, and of nothing else.
    const RSA: &str = include_str!("../../tests/keys/rsa.der.b64");

    fn rules() -> JwtRules {
        JwtRules {
            audience: Some("taskq".to_owned()),
            issuer: Some("https://id.example".to_owned()),
            role_claim: "groups.taskq".to_owned(),
            name_claim: "sub".to_owned(),
        }
    }

    fn now() -> u64 {
        jsonwebtoken::get_current_timestamp()
    }

    fn claims() -> Value {
        json!({"sub": "ada", "aud": "taskq", "iss": "https://id.example", "exp": now() + 300,
            "groups": {"taskq": ["viewer", "admin", "cook"]}})
    }

    fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
        let text = format!(
            "{}.{}",
            B64.encode(header.to_string()),
            B64.encode(claims.to_string())
        );
        let mark = B64.encode(sign(text.as_bytes()));
        format!("{text}.{mark}")
    }

    fn by_secret(secret: &str) -> impl Fn(&[u8]) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        move |text| hmac::sign(&key, text).as_ref().to_vec()
    }

    fn hs256(claims: &Value) -> String {
        token(&json!({"alg": "HS256"}), claims, by_secret(SECRET))
    }

    fn ada() -> Option<(String, Role)> {
        Some(("ada".to_owned(), Role::Admin))
    }

    #[test]
    fn a_token_counts_with_the_claims_that_are_asked_for_only() {
        let jwt = Jwt::parse(SECRET, rules()).unwrap();
        assert_eq!(jwt.who(&hs256(&claims())), ada());
        let with = |name: &str, value: Value| {
            let mut claims = claims();
            claims[name] = value;
            jwt.who(&hs256(&claims))
        };
        // Clocks may differ by a minute.
        assert_eq!(with("exp", (now() - 50).into()), ada());
        assert_eq!(with("nbf", (now() + 50).into()), ada());
        for (name, value) in [
            ("exp", json!(now() - 70)),
            ("exp", json!(null)),
            ("nbf", json!(now() + 70)),
            ("aud", json!("another")),
            ("aud", json!(null)),
            ("iss", json!("https://evil.example")),
            ("sub", json!(null)),
            ("sub", json!("a\nb")),
            ("groups", json!({"taskq": "cook"})),
            ("groups", json!([])),
        ] {
            assert_eq!(with(name, value.clone()), None, "{name}: {value}");
        }
        assert_eq!(
            with("groups", json!({"taskq": "viewer"})).unwrap().1,
            Role::Viewer
        );
    }

    #[test]
    fn what_is_not_signed_by_the_key_counts_for_nothing() {
        let jwt = Jwt::parse(SECRET, rules()).unwrap();
        let good = hs256(&claims());
        let (text, _) = good.rsplit_once('.').unwrap();
        for bad in [
            token(&json!({"alg": "none"}), &claims(), |_| Vec::new()),
            token(&json!({"alg": "HS512"}), &claims(), by_secret(SECRET)),
            token(&json!({"alg": "HS256"}), &claims(), by_secret("another")),
            format!("{text}."),
            text.to_owned(),
            "a.b.c".to_owned(),
        ] {
            assert_eq!(jwt.who(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_public_key_is_not_taken_for_a_secret_and_its_name_chooses_it() {
        let pair = RsaKeyPair::from_der(
            &base64::engine::general_purpose::STANDARD
                .decode(RSA.trim())
                .unwrap(),
        )
        .unwrap();
        let public = signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
        let by_rsa = |text: &[u8]| {
            let mut mark = vec![0; pair.public().modulus_len()];
            let random = ring::rand::SystemRandom::new();
            pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut mark)
                .unwrap();
            mark
        };
        let seed = [7; 32];
        let ed = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let by_ed = |text: &[u8]| ed.sign(text).as_ref().to_vec();
        let set = json!({"keys": [
            {"kty": "RSA", "kid": "r", "alg": "RS256", "n": B64.encode(&public.n), "e": B64.encode(&public.e)},
            {"kty": "OKP", "kid": "e", "crv": "Ed25519", "x": B64.encode(ed.public_key())},
            {"kty": "EC", "kid": "other", "crv": "P-256", "x": B64.encode([1; 32]), "y": B64.encode([2; 32])},
        ]});
        let jwt = Jwt::parse(&set.to_string(), rules()).unwrap();
        let head = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid});
        assert_eq!(
            jwt.who(&token(&head("RS256", "r"), &claims(), by_rsa)),
            ada()
        );
        assert_eq!(
            jwt.who(&token(&head("EdDSA", "e"), &claims(), by_ed)),
            ada()
        );
        for bad in [
            token(&head("RS256", "e"), &claims(), by_rsa),
            token(&head("EdDSA", "r"), &claims(), by_ed),
            token(&head("EdDSA", "unknown"), &claims(), by_ed),
            token(&json!({"alg": "EdDSA"}), &claims(), by_ed),
            // A public key is known to all, and must not be a secret.
            token(
                &head("HS256", "e"),
                &claims(),
                by_secret(&B64.encode(ed.public_key())),
            ),
            token(&head("RS256", "r"), &claims(), by_ed),
        ] {
            assert_eq!(jwt.who(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_file_that_has_no_key_is_told() {
        for bad in [
            "",
            "short",
            "{}",
            "{\"keys\":[]}",
            "-----BEGIN NONSENSE-----",
        ] {
            assert!(Jwt::parse(bad, rules()).is_err(), "{bad}");
        }
    }
}
