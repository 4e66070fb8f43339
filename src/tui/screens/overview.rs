//! The run: its steps, the selected one in detail, and the newest lines of the log.
//! Never more than one screen: what is long is counted here and listed elsewhere.

use super::{detail, log, steps, window};
use crate::tui::app::App;
use crate::tui::parts::{rows, rule};
use crate::tui::theme::Tone;
use ratatui::{Frame, layout::Rect, text::Line};

/// From this width on, the detail stands beside the list.
const WIDE: u16 = 100;
const LIST_WIDTH: u16 = 52;

pub fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let n = window::height(app);
    // The log gets what the steps leave, in bounds.
    let newest = match area.height {
        0..16 => 0,
        // The line at the point of no return takes its row from the log, not from the detail.
        16..27 => {
            area.height.saturating_sub(n.saturating_add(9)).clamp(if usize::from(n) > app.plan.steps.len() { 1 } else { 2 }, 3)
        }
        27.. => area.height.saturating_sub(n.saturating_add(9)).clamp(5, 12),
    };
    let log_height = if newest == 0 { 0 } else { newest + 1 };
    let [top, bottom] = rows(area, [area.height.saturating_sub(log_height)]);
    if area.width >= WIDE {
        let list = Rect { width: LIST_WIDTH, ..top };
        let beside = Rect { x: top.x + LIST_WIDTH + 1, width: top.width - LIST_WIDTH - 1, ..top };
        let [heading, list] = rows(list, [1]);
        frame.render_widget(Line::styled(" STEPS", app.look.style(Tone::Strong)), heading);
        steps::draw(frame, app, list);
        detail::draw(frame, app, beside);
    } else {
        let [list, line, below] = rows(top, [n.min(top.height.saturating_sub(5)), 1]);
        steps::draw(frame, app, list);
        rule(frame, line, &app.look);
        detail::draw(frame, app, below);
    }
    if newest > 0 {
        let [line, lines] = rows(bottom, [1]);
        rule(frame, line, &app.look);
        log::newest(frame, app, lines);
    }
}
