//! Time zones, from a database that is part of the program.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::{SyntaxError, nearest};

/// The time zone of a name such as `Europe/Berlin`.
///
/// From the database that this version was built with, wherever it runs: a container
/// may have none, and two machines with different ones would not agree on a
/// schedule's times.
///
/// # Errors
///
/// A name that the database does not have, with the nearest that it has.
pub fn time_zone(name: &str) -> Result<TimeZone, SyntaxError> {
    let database = TimeZoneDatabase::bundled();
    if let Ok(zone) = database.get(name) {
        return Ok(zone);
    }
    let all: Vec<String> = database.available().map(|name| name.to_string()).collect();
    let names = || all.iter().map(String::as_str);
    // Who writes `Berlin` means the city.
    let city = names().find(|known| {
        let city = known.rsplit('/').next();
        city.is_some_and(|city| city.eq_ignore_ascii_case(name))
    });
    let guess = match city.or_else(|| nearest(name, names())) {
        Some(zone) => format!("did you mean `{zone}`?"),
        None => "write a name of the IANA database, such as `Europe/Berlin` or `UTC`".to_owned(),
    };
    Err(SyntaxError::new(format!(
        "`{name}` is not a time zone; {guess}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_has_its_name_and_a_wrong_one_is_guessed() {
        for name in [
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "UTC",
        ] {
            assert!(time_zone(name).is_ok(), "{name}");
        }
        for (name, told) in [
            ("Berlin", "`Europe/Berlin`"),
            ("Europe/Berlni", "`Europe/Berlin`"),
            ("somewhere over the rainbow", "IANA database"),
        ] {
            let error = time_zone(name).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
