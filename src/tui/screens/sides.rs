//! Before and after of one change, as the lines of a diff.
//! Never shows a secret: the plan holds none.

use crate::model::diff::{self, DiffLine, Mark};
use crate::model::{Change, PlannedChange, Row, text};
use crate::tui::parts::{cut_end, labelled, wrap_exact};
use crate::tui::theme::{Look, Tone};
use ratatui::text::Line;
use similar::{ChangeTag, TextDiff};

/// Columns before a line: its sign with what is around it.
const MARGIN: usize = 5;

/// Both sides, and the way back of one change. Long lines are cut, or broken where `wraps`.
pub fn lines(change: &PlannedChange, look: &Look, width: usize, wraps: bool) -> Vec<Line<'static>> {
    let mut out = vec![];
    let room = if wraps { usize::MAX } else { width.saturating_sub(MARGIN) };
    for DiffLine { mark, text: words } in diff::fitted(tagged(change), room) {
        let words = margin(mark, &words);
        let tone = tone(mark);
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
    tagged(change).into_iter().map(|line| margin(line.mark, &line.text)).collect()
}

fn tagged(change: &PlannedChange) -> Vec<DiffLine> {
    if let Some(lines) = change.change.diff() {
        return lines;
    }
    let (before, after) = sides(change);
    let diff = TextDiff::from_lines(&before, &after);
    diff.iter_all_changes().map(|line| DiffLine { mark: mark(line.tag()), text: text::clean(line.value()) }).collect()
}

fn mark(tag: ChangeTag) -> Mark {
    match tag {
        ChangeTag::Delete => Mark::Gone,
        ChangeTag::Insert => Mark::Come,
        ChangeTag::Equal => Mark::Same,
    }
}

/// What is said about lines begins where their signs stand, so that no eye takes it for a line of a file.
fn margin(mark: Mark, words: &str) -> String {
    match mark {
        Mark::Head | Mark::Said | Mark::Key => format!("   {words}"),
        _ => format!("   {} {words}", mark.sign()),
    }
}

fn tone(mark: Mark) -> Tone {
    match mark {
        Mark::Gone => Tone::Removed,
        Mark::Come => Tone::Added,
        Mark::Head => Tone::Strong,
        Mark::Said => Tone::Plain,
        Mark::Same | Mark::Gap | Mark::Key => Tone::Dim,
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
