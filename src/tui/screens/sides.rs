//! Before and after of one change, as the lines of a diff.
//! Never shows a secret: the plan holds none.

use crate::model::{Change, PlannedChange, Row, text};
use crate::tui::parts::{cut_end, labelled, wrap_exact};
use crate::tui::theme::{Look, Tone};
use ratatui::text::Line;
use similar::{ChangeTag, TextDiff};

/// Both sides, and the way back of one change. Long lines are cut, or broken where `wraps`.
pub fn lines(change: &PlannedChange, look: &Look, width: usize, wraps: bool) -> Vec<Line<'static>> {
    let mut out = vec![];
    for (tag, words) in tagged(change) {
        let (sign, tone) = sign(tag);
        let words = format!("   {sign} {words}");
        if wraps {
            out.extend(wrap_exact(&words, width, 5).into_iter().map(|line| Line::styled(line, look.style(tone))));
        } else {
            out.push(Line::styled(cut_end(&words, width), look.style(tone)));
        }
    }
    let way_back = match &change.way_back {
        crate::model::WayBack::Whole => None,
        crate::model::WayBack::Partly(why) => Some(("PARTLY", why)),
        crate::model::WayBack::None(why) => Some(("NO UNDO", why)),
    };
    if let Some((label, why)) = way_back {
        let style = look.style(Tone::Warning);
        out.extend(labelled(&format!("  {label}"), &text::clean(why), (11, width), (style, style)));
    }
    out
}

/// The same without a look: for what is copied, looked for and read in a pager.
pub fn plain_lines(change: &PlannedChange) -> Vec<String> {
    tagged(change).into_iter().map(|(tag, words)| format!("   {} {words}", sign(tag).0)).collect()
}

fn tagged(change: &PlannedChange) -> Vec<(ChangeTag, String)> {
    let (before, after) = sides(change);
    let diff = TextDiff::from_lines(&before, &after);
    diff.iter_all_changes().map(|line| (line.tag(), text::clean(line.value()))).collect()
}

fn sign(tag: ChangeTag) -> (&'static str, Tone) {
    match tag {
        ChangeTag::Delete => ("-", Tone::Removed),
        ChangeTag::Insert => ("+", Tone::Added),
        ChangeTag::Equal => (" ", Tone::Dim),
    }
}

/// The sides with one fact a line, so that what is equal stands once.
fn sides(change: &PlannedChange) -> (String, String) {
    match &change.change {
        Change::Rows { diffs } | Change::BrownOut { diffs, .. } => {
            let side = |of: &Option<Row>, head: &str| {
                of.iter()
                    .flat_map(|row| row.iter().map(move |(column, value)| format!("{head}  {column} = {}\n", plain(value))))
                    .collect::<String>()
            };
            let mut out = (String::new(), String::new());
            for diff in diffs {
                let head = format!("{} {}", diff.table, diff.key);
                out.0.push_str(&side(&diff.before, &head));
                out.1.push_str(&side(&diff.after, &head));
            }
            out
        }
        _ => (ended(&change.before), ended(&change.after)),
    }
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A text that ends with a line break, so that the last lines of both sides compare.
fn ended(side: &str) -> String {
    if side.is_empty() || side.ends_with('\n') { side.to_owned() } else { format!("{side}\n") }
}
