//! The window: the agreed time in which the service may be down, as it is written and as it lies on the clock.
//! It never asks what time it is, and never moves by itself.

use super::text;
use jiff::{
    Timestamp,
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};

/// A window on the clock. In the journal, so that a resume, a report and a second viewer see the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Window {
    /// Unix times in milliseconds.
    #[serde(deserialize_with = "super::edge::moment")]
    pub from_ms: i64,
    #[serde(deserialize_with = "super::edge::moment")]
    pub until_ms: i64,
    /// The zone it was agreed in, in which its times are said and typed: `Asia/Seoul`, or as in TZ: `KST-9`.
    #[serde(deserialize_with = "super::edge::line")]
    pub zone: String,
}

/// A window as people agree upon it: two times of day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    from: Time,
    /// Midnight as an end is 0:00 of the next day.
    until: Time,
    /// Without it: today's, or tomorrow's when today's is over.
    date: Option<Date>,
    zone: Option<String>,
}

/// What is wrong with a window, and what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {expected}")]
pub struct BadWindow {
    pub what: String,
    pub expected: String,
}

/// An end that is typed without a date is at most this far away.
const FAR_MS: i64 = 12 * 3_600_000;

const FORM: &str = "`02:00-04:00`, `2026-11-22T02:00-04:00` or `02:00-04:00@Asia/Seoul` is expected";

fn bad(what: impl Into<String>, expected: impl Into<String>) -> BadWindow {
    BadWindow { what: what.into(), expected: expected.into() }
}

/// `02:00`, `2:00`, `24:00`.
pub fn time(written: &str) -> Result<Time, BadWindow> {
    let wrong = || bad(format!("`{}` is no time of day", text::clean(written)), "hours and minutes such as `02:00` are expected");
    let (hour, minute) = written.split_once(':').ok_or_else(wrong)?;
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    if !digits(hour) || !digits(minute) || hour.len() > 2 || minute.len() != 2 {
        return Err(wrong());
    }
    let (hour, minute): (i8, i8) = (hour.parse().map_err(|_| wrong())?, minute.parse().map_err(|_| wrong())?);
    if (hour, minute) == (24, 0) {
        return Ok(Time::midnight());
    }
    Time::new(hour, minute, 0, 0).map_err(|_| wrong())
}

/// `2026-11-22`.
pub fn date(written: &str) -> Result<Date, BadWindow> {
    written.parse().map_err(|_| {
        bad(format!("`{}` is no date", text::clean(written)), "year, month and day such as `2026-11-22` are expected")
    })
}

/// A zone by its name, or as the variable TZ writes one.
pub fn zone(name: &str) -> Result<TimeZone, BadWindow> {
    let wrong =
        || bad(format!("there is no time zone `{}`", text::clean(name)), "a name such as `Asia/Seoul` or `UTC` is expected");
    if name.trim().is_empty() {
        return Err(wrong());
    }
    TimeZone::get(name).or_else(|_| TimeZone::posix(name)).map_err(|_| wrong())
}

impl Agreed {
    pub fn new(from: Time, until: Time, date: Option<Date>, zone: Option<String>) -> Result<Self, BadWindow> {
        if from == until {
            let at = from.strftime("%H:%M");
            return Err(bad(
                format!("a window from {at} until {at} has no length"),
                "an end other than the beginning is expected",
            ));
        }
        Ok(Self { from, until, date, zone })
    }

    /// `[DATE T] FROM - UNTIL [@ ZONE]`, as on the command line.
    pub fn parse(written: &str) -> Result<Self, BadWindow> {
        let form = || bad(format!("`{}` is no window", text::clean(written)), FORM);
        let (times, named) = match written.trim().split_once('@') {
            Some((times, name)) => (times.trim(), Some(name.trim().to_owned())),
            None => (written.trim(), None),
        };
        if let Some(name) = &named {
            zone(name)?;
        }
        let (day, times) = match times.split_once('T') {
            Some((day, times)) => (Some(date(day)?), times),
            None => (None, times),
        };
        let (from, until) = times.split_once('-').ok_or_else(form)?;
        Self::new(time(from.trim())?, time(until.trim())?, day, named)
    }

    /// Where it lies, seen from now: the window we are in, else the next one; `here` is the zone where none is written.
    /// A date decides, even if it is over. A time that a change of clocks leaves out is moved on by as much; of a time
    /// that comes twice the first is meant.
    pub fn at(&self, now_ms: i64, here: &TimeZone) -> Result<Window, BadWindow> {
        let tz = self.zone.as_deref().map_or_else(|| Ok(here.clone()), zone)?;
        if let Some(date) = self.date {
            return self.on(date, &tz);
        }
        let far = |_| bad("this clock is outside of what can be reckoned with", FORM);
        let today = Timestamp::from_millisecond(now_ms).map_err(far)?.to_zoned(tz.clone()).date();
        // Yesterday's may go on until after midnight.
        let mut last = None;
        for days in -1..=2 {
            let day = today.checked_add(jiff::Span::new().days(days)).map_err(|_| bad("this clock is at its end", FORM))?;
            match self.on(day, &tz) {
                Ok(window) if window.until_ms > now_ms => return Ok(window),
                Ok(_) => {}
                Err(wrong) => last = Some(wrong),
            }
        }
        Err(last.unwrap_or_else(|| bad("this window never comes", FORM)))
    }

    fn on(&self, date: Date, tz: &TimeZone) -> Result<Window, BadWindow> {
        let end = |_| bad("this clock is at its end", FORM);
        let last = if self.until <= self.from { date.tomorrow().map_err(end)? } else { date };
        let moment =
            |date: Date, time: Time| date.to_datetime(time).to_zoned(tz.clone()).map(|at| at.timestamp().as_millisecond());
        let (from_ms, until_ms) = (moment(date, self.from).map_err(end)?, moment(last, self.until).map_err(end)?);
        if until_ms <= from_ms {
            return Err(bad(
                format!("on {date} the clocks are changed, and this window has no length"),
                "a window outside of the hour that is left out is expected",
            ));
        }
        Ok(Window { from_ms, until_ms, zone: zone_name(tz, until_ms) })
    }
}

/// A name under which the zone is found again.
fn zone_name(tz: &TimeZone, at_ms: i64) -> String {
    if let Some(name) = tz.iana_name() {
        return name.to_owned();
    }
    let seconds = Timestamp::from_millisecond(at_ms).map_or(0, |at| tz.to_offset(at).seconds());
    let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() % 3600 / 60);
    // POSIX counts westwards.
    let (sign, west) = if seconds < 0 { ('-', "") } else { ('+', "-") };
    format!("<{sign}{hours:02}{minutes:02}>{west}{hours}:{minutes:02}")
}

impl Window {
    /// The zone in which its times are said.
    pub fn time_zone(&self) -> TimeZone {
        zone(&self.zone).unwrap_or(TimeZone::UTC)
    }

    fn format(&self, at_ms: i64, how: &str) -> String {
        let at = Timestamp::from_millisecond(at_ms).map(|at| at.to_zoned(self.time_zone()));
        at.map(|at| at.strftime(how).to_string()).unwrap_or_default()
    }

    /// `02:31`.
    pub fn minute(&self, at_ms: i64) -> String {
        self.format(at_ms, "%H:%M")
    }

    /// `02:31 KST`.
    pub fn minute_with_zone(&self, at_ms: i64) -> String {
        self.format(at_ms, "%H:%M %Z")
    }

    /// `02:00 to 04:00 KST`.
    pub fn words(&self) -> String {
        format!("{} to {}", self.minute(self.from_ms), self.minute_with_zone(self.until_ms))
    }

    /// `2 h`, `1 h 30 min`, `45 min`.
    pub fn length(&self) -> String {
        hours(self.until_ms - self.from_ms)
    }

    pub fn is_open(&self, now_ms: i64) -> bool {
        (self.from_ms..self.until_ms).contains(&now_ms)
    }

    pub fn is_over(&self, now_ms: i64) -> bool {
        now_ms >= self.until_ms
    }

    /// `1:12:40 left`, `opens in 12 min`, `over for 3 min`: for a clock that ticks beside the word `window`.
    pub fn left(&self, now_ms: i64) -> String {
        if now_ms < self.from_ms {
            format!("opens in {}", text::age(self.from_ms - now_ms))
        } else if self.is_over(now_ms) {
            format!("over for {}", text::age(now_ms - self.until_ms))
        } else {
            let s = (self.until_ms - now_ms) / 1000;
            format!("{}:{:02}:{:02} left", s / 3600, s % 3600 / 60, s % 60)
        }
    }

    /// How a run lies in it: `1 h 5 min of a 2 h window`, `12 min of a 2 h window, ended 3 min after it`.
    pub fn used(&self, from_ms: i64, to_ms: i64) -> String {
        let inside = to_ms.min(self.until_ms) - from_ms.max(self.from_ms);
        let after =
            if to_ms > self.until_ms { format!(", ended {} after it", hours(to_ms - self.until_ms)) } else { String::new() };
        format!("{} of a {} window{after}", hours(inside), self.length())
    }

    /// The window with another end, typed by a person: `04:30`, or a whole window in the form of the command line.
    /// An end that is over or more than twelve hours away is a slip, unless it is written with its date.
    pub fn moved(&self, typed: &str, now_ms: i64) -> Result<Self, BadWindow> {
        let form = "a time such as `04:30` is expected, or a whole window such as `02:00-04:30`";
        let typed = typed.trim();
        let window = match time(typed) {
            Ok(until) => {
                let tz = self.time_zone();
                let far = |_| bad("this clock is outside of what can be reckoned with", form);
                let today = Timestamp::from_millisecond(now_ms).map_err(far)?.to_zoned(tz.clone()).date();
                let on = |date: Date| {
                    let at = date.to_datetime(until).to_zoned(tz.clone());
                    at.map(|at| at.timestamp().as_millisecond()).map_err(|_| bad("this clock is at its end", form))
                };
                let mut until_ms = on(today)?;
                if until_ms <= now_ms {
                    until_ms = on(today.tomorrow().map_err(|_| bad("this clock is at its end", form))?)?;
                }
                if until_ms - now_ms > FAR_MS {
                    let whole = "for an end so far away a whole window is expected, such as `2026-11-22T02:00-04:30`";
                    return Err(bad(format!("{typed} is over for today"), whole));
                }
                Self { until_ms, ..self.clone() }
            }
            Err(wrong) if !typed.contains('-') => return Err(BadWindow { expected: form.to_owned(), ..wrong }),
            Err(_) => Agreed::parse(typed)?.at(now_ms, &self.time_zone())?,
        };
        if window.until_ms <= window.from_ms {
            return Err(bad("the window would end before it opens", form));
        }
        if window.is_over(now_ms) {
            return Err(bad(format!("this window ended at {}", window.minute_with_zone(window.until_ms)), form));
        }
        Ok(window)
    }
}

/// `2 h`, `1 h 5 min`, `45 min`, `40 s`.
pub fn hours(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    match (s / 3600, s % 3600 / 60) {
        (0, 0) => format!("{s} s"),
        (0, minutes) => format!("{minutes} min"),
        (hours, 0) => format!("{hours} h"),
        (hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(at: &str) -> i64 {
        at.parse::<Timestamp>().expect("a time").as_millisecond()
    }

    fn seoul() -> TimeZone {
        TimeZone::posix("KST-9").expect("a zone")
    }

    /// What is written, when it is read, and where the window lies then.
    fn check(written: &str, now: &str, expected: Result<(&str, &str), &str>) {
        let got = Agreed::parse(written).and_then(|agreed| agreed.at(ms(now), &seoul()));
        let got = got.map(|window| (window.from_ms, window.until_ms)).map_err(|wrong| wrong.to_string());
        let expected = expected.map(|(from, until)| (ms(from), ms(until))).map_err(str::to_owned);
        assert_eq!(got, expected, "{written} at {now}");
    }

    #[test]
    fn the_window_is_the_one_we_are_in_or_the_next() {
        let tonight = ("2026-11-22T02:00:00+09:00", "2026-11-22T04:00:00+09:00");
        let tomorrow = ("2026-11-23T02:00:00+09:00", "2026-11-23T04:00:00+09:00");
        check("02:00-04:00", "2026-11-21T23:00:00+09:00", Ok(tonight));
        check("02:00-04:00", "2026-11-22T02:00:00+09:00", Ok(tonight));
        check("2:00 - 4:00", "2026-11-22T03:59:59+09:00", Ok(tonight));
        check("02:00-04:00", "2026-11-22T04:00:00+09:00", Ok(tomorrow));
        check("2026-11-22T02:00-04:00", "2026-11-22T09:00:00+09:00", Ok(tonight));
        check("02:00-04:00@Asia/Seoul", "2026-11-21T17:30:00Z", Ok(tonight));
        check("17:00-19:00@UTC", "2026-11-21T17:30:00Z", Ok(tonight));
    }

    #[test]
    fn a_window_may_cross_midnight() {
        let over_midnight = ("2026-11-21T23:00:00+09:00", "2026-11-22T01:00:00+09:00");
        check("23:00-01:00", "2026-11-21T12:00:00+09:00", Ok(over_midnight));
        check("23:00-01:00", "2026-11-21T23:30:00+09:00", Ok(over_midnight));
        check("23:00-01:00", "2026-11-22T00:59:00+09:00", Ok(over_midnight));
        check("23:00-01:00", "2026-11-22T01:00:00+09:00", Ok(("2026-11-22T23:00:00+09:00", "2026-11-23T01:00:00+09:00")));
        check("22:00-24:00", "2026-11-21T12:00:00+09:00", Ok(("2026-11-21T22:00:00+09:00", "2026-11-22T00:00:00+09:00")));
        check(
            "00:00-24:00",
            "2026-11-21T12:00:00+09:00",
            Err("a window from 00:00 until 00:00 has no length: an end other than the beginning is expected"),
        );
    }

    #[test]
    fn changed_clocks_are_reckoned_with() {
        let berlin = "@CET-1CEST,M3.5.0,M10.5.0/3";
        // The hour from 2 to 3 is left out: two hours on the wall are one.
        check(
            &format!("01:00-03:00{berlin}"),
            "2027-03-27T12:00:00Z",
            Ok(("2027-03-28T01:00:00+01:00", "2027-03-28T03:00:00+02:00")),
        );
        check(
            &format!("2027-03-28T02:30-04:00{berlin}"),
            "2027-03-27T12:00:00Z",
            Ok(("2027-03-28T03:30:00+02:00", "2027-03-28T04:00:00+02:00")),
        );
        // It comes twice: the first is meant, and the window is an hour longer.
        check(
            &format!("02:00-04:00{berlin}"),
            "2027-10-30T12:00:00Z",
            Ok(("2027-10-31T02:00:00+02:00", "2027-10-31T04:00:00+01:00")),
        );
        check(
            &format!("2027-03-28T02:00-03:00{berlin}"),
            "2027-03-27T12:00:00Z",
            Err(
                "on 2027-03-28 the clocks are changed, and this window has no length: a window outside of the hour that is left out is expected",
            ),
        );
    }

    #[test]
    fn mistakes_say_what_is_expected() {
        let now = "2026-11-21T12:00:00+09:00";
        let form = "`02:00-04:00`, `2026-11-22T02:00-04:00` or `02:00-04:00@Asia/Seoul` is expected";
        check("tonight", now, Err(&format!("`tonight` is no window: {form}")));
        check("02:00", now, Err(&format!("`02:00` is no window: {form}")));
        check("", now, Err(&format!("`` is no window: {form}")));
        check("02:00-04:60", now, Err("`04:60` is no time of day: hours and minutes such as `02:00` are expected"));
        check("2-4", now, Err("`2` is no time of day: hours and minutes such as `02:00` are expected"));
        check("-1:00-02:00", now, Err("`` is no time of day: hours and minutes such as `02:00` are expected"));
        check(
            "04:00-04:00",
            now,
            Err("a window from 04:00 until 04:00 has no length: an end other than the beginning is expected"),
        );
        check(
            "2026-13-01T02:00-04:00",
            now,
            Err("`2026-13-01` is no date: year, month and day such as `2026-11-22` are expected"),
        );
        check("02:00-04:00@Seoul", now, Err("there is no time zone `Seoul`: a name such as `Asia/Seoul` or `UTC` is expected"));
        check("02:00-04:00@", now, Err("there is no time zone ``: a name such as `Asia/Seoul` or `UTC` is expected"));
    }

    fn window() -> Window {
        Agreed::parse("2026-11-22T02:00-04:00").and_then(|agreed| agreed.at(0, &seoul())).expect("a window")
    }

    #[test]
    fn the_end_is_moved_by_typing_it() {
        let check = |typed: &str, now: &str, expected: Result<&str, &str>| {
            let got = window().moved(typed, ms(now)).map(|window| window.until_ms).map_err(|wrong| wrong.to_string());
            assert_eq!(got, expected.map(ms).map_err(str::to_owned), "{typed} at {now}");
        };
        check("04:30", "2026-11-22T03:50:00+09:00", Ok("2026-11-22T04:30:00+09:00"));
        check("04:30", "2026-11-22T04:10:00+09:00", Ok("2026-11-22T04:30:00+09:00"));
        check("02:00-05:00", "2026-11-22T03:50:00+09:00", Ok("2026-11-22T05:00:00+09:00"));
        check("2026-11-23T02:00-05:00", "2026-11-22T03:50:00+09:00", Ok("2026-11-23T05:00:00+09:00"));
        let form = "a time such as `04:30` is expected, or a whole window such as `02:00-04:30`";
        check("soon", "2026-11-22T03:50:00+09:00", Err(&format!("`soon` is no time of day: {form}")));
        check(
            "04:30",
            "2026-11-22T05:00:00+09:00",
            Err("04:30 is over for today: for an end so far away a whole window is expected, such as `2026-11-22T02:00-04:30`"),
        );
        check("01:30", "2026-11-22T01:00:00+09:00", Err(&format!("the window would end before it opens: {form}")));
    }

    #[test]
    fn what_is_left_and_what_was_used_is_said() {
        let window = window();
        assert_eq!(window.words(), "02:00 to 04:00 +0900");
        assert_eq!(Window { zone: "KST-9".to_owned(), ..window.clone() }.words(), "02:00 to 04:00 KST");
        for (now, left) in [
            ("2026-11-22T01:48:00+09:00", "opens in 12 min"),
            ("2026-11-22T02:47:20+09:00", "1:12:40 left"),
            ("2026-11-22T03:59:59+09:00", "0:00:01 left"),
            ("2026-11-22T04:03:00+09:00", "over for 3 min"),
        ] {
            assert_eq!(window.left(ms(now)), left);
        }
        let used = |from, to| window.used(ms(from), ms(to));
        assert_eq!(used("2026-11-22T01:58:00+09:00", "2026-11-22T03:05:00+09:00"), "1 h 5 min of a 2 h window");
        assert_eq!(
            used("2026-11-22T03:30:00+09:00", "2026-11-22T04:12:00+09:00"),
            "30 min of a 2 h window, ended 12 min after it"
        );
        assert_eq!(used("2026-11-21T22:00:00+09:00", "2026-11-21T22:30:00+09:00"), "0 s of a 2 h window");
    }

    #[test]
    fn a_zone_without_a_name_is_found_again() {
        for (posix, expected) in [("KST-9", "<+0900>-9:00"), ("NST3:30", "<-0330>3:30"), ("UTC0", "<+0000>-0:00")] {
            let tz = TimeZone::posix(posix).expect("a zone");
            let name = zone_name(&tz, 0);
            assert_eq!(name, expected);
            assert_eq!(zone(&name).expect(&name).to_offset(Timestamp::UNIX_EPOCH), tz.to_offset(Timestamp::UNIX_EPOCH));
        }
    }
}
