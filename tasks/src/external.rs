//! Tasks that ask services of others.
//!
//! They ask [Open-Meteo] for the weather and [Frankfurter] for rates of
//! exchange (those of the European Central Bank), both of which need no key. Set
//! `TASKQ_WEATHER_URL`, `TASKQ_PLACES_URL` or `TASKQ_CURRENCY_URL` in the worker
//! to ask another service that answers alike, or a cache in between.
//!
//! What others answer decides what becomes of the task: of a busy or broken
//! service another attempt is made, after as long as it says; what it does not
//! know, or refuses, has failed for good.
//!
//! [Open-Meteo]: https://open-meteo.com
//! [Frankfurter]: https://frankfurter.dev

use std::sync::LazyLock;
use std::time::Duration;

use rust_decimal::{Decimal, RoundingStrategy};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use taskq::{TaskError, task};
use ureq::http::{Response, header};
use ureq::{Agent, Body};

/// A service has this long to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes that an answer may have: 1 MiB.
const MAX_ANSWER: u64 = 1 << 20;

/// The longest that a service may ask us to wait.
const LONGEST_WAIT: u64 = 3600;

/// The weather of a place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Weather {
    /// The place that was found.
    pub place: String,
    /// Its country, if it has one.
    pub country: Option<String>,
    /// In degrees, north is positive.
    pub latitude: f64,
    /// In degrees, east is positive.
    pub longitude: f64,
    /// In degrees Celsius.
    pub temperature: f64,
    /// Relative, in percent.
    pub humidity: f64,
    /// In kilometres an hour.
    pub wind_speed: f64,
    /// In words.
    pub conditions: String,
    /// When it was so, at the place: `2026-11-27T09:15`.
    pub time: String,
}

/// Tells what the weather is like at a place.
///
/// # Errors
/// A permanent one for a place that is not known.
#[task(
    retries = 5,
    backoff = "exponential(1s, max 1m)",
    timeout = "30s",
    rate = "5/s",
    burst = 5
)]
pub fn weather_data(
    /// A town's name, in any language.
    city: String,
) -> Result<Weather, TaskError> {
    let places = base("TASKQ_PLACES_URL", "https://geocoding-api.open-meteo.com");
    let weather = base("TASKQ_WEATHER_URL", "https://api.open-meteo.com");
    weather_of(&places, &weather, &city)
}

fn weather_of(places: &str, weather: &str, city: &str) -> Result<Weather, TaskError> {
    #[derive(Deserialize)]
    struct Places {
        #[serde(default)]
        results: Vec<Place>,
    }
    #[derive(Deserialize)]
    struct Place {
        name: String,
        country: Option<String>,
        latitude: f64,
        longitude: f64,
    }
    #[derive(Deserialize)]
    struct Answer {
        current: Current,
    }
    #[derive(Deserialize)]
    struct Current {
        time: String,
        temperature_2m: f64,
        relative_humidity_2m: f64,
        wind_speed_10m: f64,
        weather_code: u32,
    }
    let found: Places = ask(
        &format!("{places}/v1/search"),
        &[("name", city.trim()), ("count", "1"), ("format", "json")],
    )?;
    let Some(place) = found.results.into_iter().next() else {
        return Err(TaskError::permanent(format!("no place is named {city:?}")));
    };
    let (latitude, longitude) = (place.latitude.to_string(), place.longitude.to_string());
    let Answer { current } = ask(
        &format!("{weather}/v1/forecast"),
        &[
            ("latitude", latitude.as_str()),
            ("longitude", longitude.as_str()),
            ("timezone", "auto"),
            (
                "current",
                "temperature_2m,relative_humidity_2m,wind_speed_10m,weather_code",
            ),
        ],
    )?;
    Ok(Weather {
        place: place.name,
        country: place.country,
        latitude: place.latitude,
        longitude: place.longitude,
        temperature: current.temperature_2m,
        humidity: current.relative_humidity_2m,
        wind_speed: current.wind_speed_10m,
        conditions: conditions(current.weather_code).to_owned(),
        time: current.time,
    })
}

/// What WMO's code 4677 means, in the words of Open-Meteo.
fn conditions(code: u32) -> &'static str {
    match code {
        0 => "clear sky",
        1 => "mainly clear",
        2 => "partly cloudy",
        3 => "overcast",
        45 | 48 => "fog",
        51 | 53 | 55 => "drizzle",
        56 | 57 => "freezing drizzle",
        61 | 63 | 65 => "rain",
        66 | 67 => "freezing rain",
        71 | 73 | 75 => "snow",
        77 => "snow grains",
        80..=82 => "rain showers",
        85 | 86 => "snow showers",
        95 => "thunderstorm",
        96 | 99 => "thunderstorm with hail",
        _ => "unknown",
    }
}

/// An amount in another currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conversion {
    /// What was converted.
    pub amount: Decimal,
    /// Of which currency.
    pub from: String,
    /// To which.
    pub to: String,
    /// What one of the first is in the second.
    pub rate: Decimal,
    /// The amount in the second, rounded to cents.
    pub result: Decimal,
    /// The day of the rate: `2026-11-27`.
    pub date: String,
}

/// Converts an amount by the latest rate of the European Central Bank.
///
/// # Errors
/// A permanent one for a currency that is not known.
#[task(
    retries = 5,
    backoff = "exponential(1s, max 1m)",
    timeout = "30s",
    rate = "5/s",
    burst = 5
)]
pub fn currency_conversion(
    /// How much.
    amount: Decimal,
    /// Of what, by its three letters: `EUR`.
    from: String,
    /// To what.
    to: String,
) -> Result<Conversion, TaskError> {
    let service = base("TASKQ_CURRENCY_URL", "https://api.frankfurter.dev");
    convert(&service, amount, &from, &to)
}

fn convert(service: &str, amount: Decimal, from: &str, to: &str) -> Result<Conversion, TaskError> {
    #[derive(Deserialize)]
    struct Rates {
        date: String,
        rates: std::collections::BTreeMap<String, serde_json::Number>,
    }
    let (from, to) = (currency(from)?, currency(to)?);
    let url = format!("{service}/v1/latest");
    // The service refuses to convert a currency to itself, so it is asked for all.
    let rates: Rates = ask(&url, &[("base", from.as_str())])?;
    let rate = if from == to {
        Decimal::ONE
    } else {
        let rate = rates.rates.get(&to);
        let rate = rate
            .ok_or_else(|| TaskError::permanent(format!("no rate from {from} to {to} is known")))?;
        // As the service wrote it, not as a floating point number.
        let text = rate.to_string();
        let rate = Decimal::from_str_exact(&text).or_else(|_| Decimal::from_scientific(&text));
        rate.map_err(|error| TaskError::permanent(format!("the rate {text}: {error}")))?
    };
    let result = amount.checked_mul(rate).ok_or_else(|| {
        TaskError::permanent("the amount is too large to be exact; convert a smaller one")
    })?;
    Ok(Conversion {
        amount,
        from,
        to,
        rate,
        result: result.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero),
        date: rates.date,
    })
}

fn currency(code: &str) -> Result<String, TaskError> {
    let code = code.trim();
    if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Ok(code.to_ascii_uppercase());
    }
    Err(TaskError::permanent(format!(
        "{code:?} is no currency; write its three letters, as EUR"
    )))
}

fn base(variable: &str, usual: &str) -> String {
    let url = std::env::var(variable).unwrap_or_else(|_| usual.to_owned());
    url.trim_end_matches('/').to_owned()
}

/// One for all attempts: connections are kept.
static AGENT: LazyLock<Agent> = LazyLock::new(|| {
    Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(3)
        .user_agent(concat!("taskq/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
});

/// Asks for JSON.
fn ask<T: DeserializeOwned>(url: &str, query: &[(&str, &str)]) -> Result<T, TaskError> {
    let host = host(url);
    let asked = AGENT.get(url).query_pairs(query.iter().copied()).call();
    // Whatever is wrong with the way there may be over in a while.
    let mut answer = asked.map_err(|error| format!("asking {host}: {error}"))?;
    let status = answer.status().as_u16();
    match status {
        200..=299 => {}
        // Too many requests, or down for a while: it may say until when.
        408 | 425 | 429 | 500..=599 => {
            let text = format!("{host} answered {status}");
            return Err(match wait(&answer) {
                Some(wait) => TaskError::retry_after(wait, text),
                None => text.into(),
            });
        }
        _ => {
            let text = answer.body_mut().with_config().limit(1024).read_to_string();
            let text = text.unwrap_or_default();
            return Err(TaskError::permanent(format!(
                "{host} answered {status}: {}",
                text.trim()
            )));
        }
    }
    let body = answer
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER)
        .read_to_string();
    let body = body.map_err(|error| format!("reading the answer of {host}: {error}"))?;
    // A page of a proxy or of maintenance, perhaps: it may be over in a while.
    serde_json::from_str(&body)
        .map_err(|error| format!("the answer of {host} is not what it should be: {error}").into())
}

fn wait(answer: &Response<Body>) -> Option<Duration> {
    let text = answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST_WAIT)))
}

/// What may be told of an address: not its user and password.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority.rsplit('@').next().unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;

    use super::*;

    /// A service that answers each request with the next of these, and then
    /// hears no more; tells its address, and what it was asked.
    fn service(answers: &[&str]) -> (String, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = tell.send(request(&stream));
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (url, told)
    }

    fn request(stream: &TcpStream) -> String {
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        let first = lines.next().unwrap();
        lines.find(String::is_empty).unwrap();
        first
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    }

    fn of(amount: &str, to: &str, answers: &[&str]) -> Result<Conversion, TaskError> {
        let (url, _asked) = service(answers);
        convert(&url, amount.parse().unwrap(), "EUR", to)
    }

    const RATES: &str = r#"{"base":"EUR","date":"2026-11-26","rates":{"USD":1.0834,"JPY":161.5}}"#;

    #[test]
    fn an_amount_is_converted_exactly() {
        let (url, asked) = service(&[&answer("200 OK", "", RATES)]);
        let dollars = convert(&url, "19.99".parse().unwrap(), " eur ", "usd").unwrap();
        assert_eq!(dollars.rate.to_string(), "1.0834");
        assert_eq!(dollars.result.to_string(), "21.66");
        assert_eq!((dollars.from.as_str(), dollars.to.as_str()), ("EUR", "USD"));
        assert_eq!(asked.recv().unwrap(), "GET /v1/latest?base=EUR HTTP/1.1");
        let same = of("5.00", "EUR", &[&answer("200 OK", "", RATES)]).unwrap();
        assert_eq!(same.result.to_string(), "5.00");
    }

    #[test]
    fn the_weather_of_a_place_is_told() {
        let found =
            r#"{"results":[{"name":"Köln","country":"Germany","latitude":50.9,"longitude":6.9}]}"#;
        let now = r#"{"current":{"time":"2026-11-27T09:15","temperature_2m":4.5,
            "relative_humidity_2m":81,"wind_speed_10m":12.2,"weather_code":61}}"#;
        let (places, asked) = service(&[&answer("200 OK", "", found)]);
        let (weather, _) = service(&[&answer("200 OK", "", now)]);
        let cologne = weather_of(&places, &weather, "Köln").unwrap();
        assert_eq!(cologne.conditions, "rain");
        assert_eq!((cologne.temperature, cologne.humidity), (4.5, 81.0));
        let asked = asked.recv().unwrap();
        assert!(asked.contains("name=K%C3%B6ln"), "{asked}");
        let (nowhere, _) = service(&[&answer("200 OK", "", "{}")]);
        let error = weather_of(&nowhere, &weather, "Nowhere").unwrap_err();
        assert!(error.is_permanent(), "{error}");
    }

    #[test]
    fn a_busy_service_is_asked_again_when_it_says() {
        let busy = answer("429 Too Many Requests", "retry-after: 7\r\n", "");
        let error = of("1", "USD", &[&busy]).unwrap_err();
        assert_eq!(error.asked_wait(), Some(Duration::from_secs(7)));
        let endless = answer("503 Service Unavailable", "retry-after: 99999999\r\n", "");
        let error = of("1", "USD", &[&endless]).unwrap_err();
        assert_eq!(error.asked_wait(), Some(Duration::from_secs(LONGEST_WAIT)));
    }

    #[test]
    fn of_a_broken_service_another_attempt_is_made() {
        for broken in [
            answer("500 Internal Server Error", "", "oops"),
            answer(
                "200 OK",
                "content-type: text/html\r\n",
                "<html>Maintenance</html>",
            ),
            "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".to_owned(),
            "nonsense\r\n\r\n".to_owned(),
            String::new(),
            answer(
                "200 OK",
                "",
                &format!("{{\"date\":\"{}\"}}", "x".repeat(2 << 20)),
            ),
        ] {
            let error = of("1", "USD", &[&broken]).unwrap_err();
            assert!(!error.is_permanent(), "{error}");
        }
    }

    #[test]
    fn what_is_not_known_has_failed_for_good() {
        let refused = answer("404 Not Found", "", r#"{"message":"not found"}"#);
        let error = of("1", "XXX", &[&refused]).unwrap_err();
        assert!(
            error.is_permanent() && error.to_string().contains("not found"),
            "{error}"
        );
        let error = of("1", "XXX", &[&answer("200 OK", "", RATES)]).unwrap_err();
        assert!(error.is_permanent(), "{error}");
        for code in ["", "EURO", "E€"] {
            let error = convert("http://127.0.0.1:1", Decimal::ONE, code, "USD").unwrap_err();
            assert!(error.is_permanent(), "{error}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_not_told() {
        let url = "http://user:secret@127.0.0.1:1";
        let error = convert(url, Decimal::ONE, "EUR", "USD").unwrap_err();
        assert!(!error.is_permanent());
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
