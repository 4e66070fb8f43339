//! The ledger: for every old name the new one, how it was proven, and who holds the old.
//! Never builds a row that is not visible.

use crate::model::{LedgerLine, Verdict, text};
use crate::tui::app::App;
use crate::tui::parts::{cell, cut_end, prose, rows};
use crate::tui::theme::Tone;
use ratatui::{Frame, layout::Rect, text::Line, widgets::Paragraph};

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let look = &app.look;
    let width = area.width as usize;
    let ledger = &app.plan.ledger;
    let of = |verdict: Verdict| ledger.iter().filter(|line| line.verdict == verdict).count() as u64;
    let heading = format!(
        " LEDGER   {}: {} identical, {} different build, {} without counterpart",
        text::count(ledger.len() as u64, "line"),
        text::number(of(Verdict::Identical)),
        text::number(of(Verdict::DifferentBuild)),
        text::number(of(Verdict::NoCounterpart))
    );
    let [head, body] = rows(area, [1]);
    frame.render_widget(Line::styled(cut_end(&heading, width), look.style(Tone::Strong)), head);
    let fit = (body.height as usize / 2).max(1);
    let listed = app.ledger_rows();
    let first = app.scroll.min(listed.len().saturating_sub(1));
    let shown: Vec<Line<'_>> = listed.into_iter().skip(first).take(fit).flat_map(|line| two(app, line, width)).collect();
    frame.render_widget(Paragraph::new(shown), body);
}

/// Two rows for one line: the names, then the proof.
fn two(app: &App, line: &LedgerLine, width: usize) -> [Line<'static>; 2] {
    let look = &app.look;
    let (sign, tone) = match line.verdict {
        Verdict::Identical => ("=", Tone::Plain),
        Verdict::DifferentBuild => ("~", Tone::Warning),
        Verdict::NoCounterpart => ("!", Tone::Failed),
    };
    let half = width.saturating_sub(9) / 2;
    let new = line.new.as_ref().map_or_else(|| "(none)".to_owned(), ToString::to_string);
    let hosts = match line.hosts.len() {
        0 => "no host".to_owned(),
        n => text::count(n as u64, "host"),
    };
    [
        Line::from(vec![
            cell(&format!(" {sign}"), 4, look.style(tone)),
            cell(&text::clean(&line.old.familiar()), half, look.style(Tone::Plain)),
            cell(" -> ", 4, look.style(Tone::Dim)),
            cell(&text::clean(&new), half, look.style(Tone::Plain)),
        ]),
        Line::from(vec![
            cell("", 6, look.style(Tone::Plain)),
            cell(&line.verdict.to_string(), 16, look.style(tone)),
            prose(&format!("{}; on {hosts}", text::clean(&line.proof)), width.saturating_sub(23), look.style(Tone::Dim)),
        ]),
    ]
}
