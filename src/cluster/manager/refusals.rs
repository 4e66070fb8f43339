//! Who was refused for an image, out of a manager's log. Pure; what it does not understand it leaves out.
//!
//! A request says who asks for what (`GET_OR_CREATE (ak:KEY/OWNER, img:IMAGE, s:SESSION)`), and the process that wrote it
//! then says that it failed, with a traceback that ends in `unknown alias or disallowed registry`: so in every manager
//! from 20.03 to 25.5 (`api/session.py`, `registry.py`). The failure does not name its request: it is the newest of its
//! process, and of two in the same moment the other may be named.

use crate::model::{Refusal, text};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use std::collections::BTreeMap;

/// The refusals in these lines, oldest first. `zone` is that of the log's times, as `date +%z` says it: `+0900`.
pub fn of_log(log: &str, zone: &str) -> Vec<Refusal> {
    let zone = offset(zone).unwrap_or(Offset::UTC).to_time_zone();
    let mut asked: BTreeMap<String, Refusal> = BTreeMap::new();
    let mut failing: Option<String> = None;
    let mut out = vec![];
    for line in log.lines().map(text::clean) {
        let Some(at_ms) = at_ms(&line, &zone) else {
            if line.contains("disallowed registry") && !line.starts_with(' ') {
                out.extend(failing.take().and_then(|process| asked.remove(&process)));
            }
            continue;
        };
        let process = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(process, _)| process);
        failing = line.contains("GET_OR_CREATE: exception").then(|| process.to_owned());
        if let Some(refusal) = request(&line, at_ms) {
            asked.insert(process.to_owned(), refusal);
        }
    }
    out
}

/// `GET_OR_CREATE (ak:AKIA…/*, img:index.docker.io/lablup/python:3.6, s:train-7)`; a `*` owner is who asks.
fn request(line: &str, at_ms: i64) -> Option<Refusal> {
    let (_, rest) = line.split_once("GET_OR_CREATE (ak:")?;
    let (keys, rest) = rest.split_once(", img:")?;
    let (image, rest) = rest.split_once(", s:")?;
    let session = rest.strip_suffix(')')?;
    let (asker, owner) = keys.split_once('/')?;
    let owner = if owner == "*" { asker } else { owner };
    Some(Refusal { at_ms, session: session.to_owned(), owner: owner.to_owned(), image: image.to_owned() })
}

/// The time that a line begins with: `2026-11-21 20:21:38.558`. The lines of a traceback begin with none.
fn at_ms(line: &str, zone: &TimeZone) -> Option<i64> {
    let second: DateTime = line.get(..19)?.parse().ok()?;
    let ms = line.get(20..23).and_then(|ms| ms.parse().ok()).unwrap_or(0);
    Some(second.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond() + ms)
}

fn offset(zone: &str) -> Option<Offset> {
    let (sign, digits) = zone.split_at_checked(1)?;
    let (hours, minutes): (i32, i32) = (digits.get(..2)?.parse().ok()?, digits.get(2..4)?.parse().ok()?);
    let seconds = (hours * 60 + minutes) * 60;
    Offset::from_seconds(if sign == "-" { -seconds } else { seconds }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a manager of 23.09 wrote it.
    const LOG: &str = "2026-11-21 20:21:38.376 INFO aiohttp.access [11720] 127.0.0.1 \"POST /session HTTP/1.1\" 400 385\n\
        2026-11-21 20:21:38.558 INFO ai.backend.manager.api.session [11720] GET_OR_CREATE (ak:AKIALAB/*, img:index.docker.io/lablup/python:3.6, s:try-2)\n\
        2026-11-21 20:21:38.560 INFO ai.backend.manager.api.session [11800] GET_OR_CREATE (ak:ROOT/AKIAKIM, img:tf, s:other)\n\
        2026-11-21 20:21:38.567 \u{1b}[31mERROR\u{1b}[0m ai.backend.manager.api.session [11720] GET_OR_CREATE: exception\n\
        Traceback (most recent call last):\n\
        \x20 File \"registry.py\", line 470, in create_session\n\
        \x20   raise ImageNotFound(\"unknown alias or disallowed registry\")\n\
        ai.backend.manager.api.exceptions.ImageNotFound: No such environment image. (unknown alias or disallowed registry)\n\
        2026-11-21 20:21:38.570 ERROR ai.backend.manager.api.session [11800] GET_OR_CREATE: exception\n\
        Traceback (most recent call last):\n\
        ai.backend.manager.api.exceptions.QuotaExceeded: no room\n";

    #[test]
    fn who_was_refused_is_told_and_who_failed_otherwise_is_not() {
        let refused = of_log(LOG, "+0900");
        let at_ms = "2026-11-21T11:21:38.558Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let image = "index.docker.io/lablup/python:3.6".to_owned();
        assert_eq!(refused, [Refusal { at_ms, session: "try-2".to_owned(), owner: "AKIALAB".to_owned(), image }]);
        assert_eq!(of_log(&LOG.replace("no room", "unknown alias or disallowed registry"), "")[1].owner, "AKIAKIM");
    }

    #[test]
    fn a_log_of_something_else_tells_nothing() {
        for log in [
            "",
            "\n\n",
            "Traceback\ndisallowed registry",
            "2026-11-21 20:21:38.567 GET_OR_CREATE: exception\nx: disallowed registry",
        ] {
            assert_eq!(of_log(log, "+0000"), []);
        }
    }
}
