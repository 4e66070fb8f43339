//! What the pages of cells keep beside the grids: where the eye is, the layers on their way, the attempts of a change.
//! Never draws, and never acts: it answers what a row, a selection or a key means.

use super::grid::{Grid, Rank, Stand, root};
use crate::model::{ChangeId, Entry, LayerProgress, Progress, Stamped, State, text};
use std::collections::BTreeMap;

/// So many hosts at most are listed one by one whatever they do; of more, the quiet ones are folded into a line.
const LISTED: usize = 20;
/// Attempts that are kept of one change: more than a night's.
const MOST_TRIES: usize = 20;

#[derive(Clone, Debug, Default)]
pub struct Cells {
    grids: BTreeMap<usize, Grid>,
    alive: bool,
    pub view: View,
    layers: BTreeMap<ChangeId, Vec<LayerProgress>>,
    tries: BTreeMap<ChangeId, Vec<Try>>,
}

/// How the grid is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    #[default]
    Hosts,
    Images,
    /// One sign for each host.
    Zoom,
}

/// Where the eye is. Hosts and images by their index, so that it stays where it is when the rows move.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub step: Option<usize>,
    pub side: Side,
    pub host: usize,
    pub image: usize,
    /// It rests on the line of folded hosts of this rank.
    pub fold: Option<Rank>,
    over_open: bool,
    to_do_open: bool,
}

/// One row of the matrix by host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    Host(usize),
    /// All hosts of this rank, in one line.
    Fold(Rank),
}

/// One attempt that did not work, or what was asked about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    pub at_ms: i64,
    pub why: String,
}

impl Cells {
    /// Begins anew with a whole run.
    pub fn fold(&mut self, entries: &[Stamped], state: &State, progress: &BTreeMap<ChangeId, Progress>, now_ms: i64) {
        self.tries.clear();
        entries.iter().for_each(|stamped| self.remember(stamped));
        self.build(state, progress, now_ms);
    }

    fn build(&mut self, state: &State, progress: &BTreeMap<ChangeId, Progress>, now_ms: i64) {
        let Some(plan) = &state.plan else { return };
        let grids = (0..plan.steps.len()).filter_map(|step| Some((step, Grid::of(plan, step)?)));
        self.grids = grids.collect();
        self.refold(state, progress, now_ms);
    }

    fn refold(&mut self, state: &State, progress: &BTreeMap<ChangeId, Progress>, now_ms: i64) {
        for grid in self.grids.values_mut() {
            grid.fold(state, progress, self.alive, now_ms);
        }
    }

    /// Somebody works on the run, or nobody does any more.
    pub fn live(&mut self, alive: bool, state: &State, progress: &BTreeMap<ChangeId, Progress>, now_ms: i64) {
        if self.alive != alive {
            self.alive = alive;
            self.refold(state, progress, now_ms);
        }
    }

    /// Takes an entry that `state` has folded in.
    pub fn entry(&mut self, stamped: &Stamped, state: &State, progress: &BTreeMap<ChangeId, Progress>) {
        self.remember(stamped);
        let (id, anew) = match &stamped.entry {
            Entry::Planned { .. } => return self.build(state, progress, stamped.at_ms),
            Entry::RollbackBegun { .. } => return self.refold(state, progress, stamped.at_ms),
            Entry::Started { change } | Entry::Done { change } => {
                self.layers.remove(change);
                (change, true)
            }
            Entry::Failed { change, .. } => (change, true),
            Entry::Found { change }
            | Entry::Retried { change, .. }
            | Entry::Skipped { change, .. }
            | Entry::UndoStarted { change }
            | Entry::Undone { change }
            | Entry::UndoFailed { change, .. } => (change, false),
            _ => return,
        };
        if let Some(grid) = self.grids.get_mut(&id.step) {
            grid.set(id.n, state.status(*id), anew);
        }
    }

    fn remember(&mut self, stamped: &Stamped) {
        let (change, why) = match &stamped.entry {
            Entry::Retried { change, why, after_ms: 0 } => (change, format!("again, {why}")),
            Entry::Retried { change, why, after_ms } => {
                (change, format!("{}; again after {}", root(why), text::age(after_ms.cast_signed())))
            }
            Entry::Failed { change, fault } | Entry::UndoFailed { change, fault } => (change, fault.why.clone()),
            _ => return,
        };
        let tries = self.tries.entry(*change).or_default();
        if tries.len() == MOST_TRIES {
            tries.remove(0);
        }
        tries.push(Try { at_ms: stamped.at_ms, why: text::clean(&why) });
    }

    pub fn hear(&mut self, progress: &Progress) {
        if let Some(grid) = self.grids.get_mut(&progress.change.step) {
            grid.hear(progress);
        }
    }

    pub fn hear_layers(&mut self, change: ChangeId, mut layers: Vec<LayerProgress>) {
        for layer in &mut layers {
            layer.id = text::clean(&layer.id);
        }
        self.layers.insert(change, layers);
    }

    pub fn tick(&mut self, now_ms: i64) {
        self.grids.values_mut().for_each(|grid| grid.tick(now_ms));
    }

    pub fn grid(&self, step: usize) -> Option<&Grid> {
        self.grids.get(&step)
    }

    pub fn layers(&self, change: ChangeId) -> &[LayerProgress] {
        self.layers.get(&change).map_or(&[], Vec::as_slice)
    }

    pub fn tries(&self, change: ChangeId) -> &[Try] {
        self.tries.get(&change).map_or(&[], Vec::as_slice)
    }

    /// Turns to the matrix of a step: to where the eye was, or to the worst cell of a step that was not looked at.
    pub fn turn_to(&mut self, step: usize) {
        if self.view.step != Some(step) {
            self.view = View { step: Some(step), side: self.view.side, ..View::default() };
            self.go_to_row(0, false);
            self.go_to_worst_image();
        }
    }

    /// Puts the eye on one change.
    pub fn turn_to_change(&mut self, id: ChangeId) {
        self.turn_to(id.step);
        if let Some(grid) = self.grids.get(&id.step) {
            let cell = grid.cell(id.n);
            (self.view.host, self.view.image, self.view.fold) = (cell.host, cell.image, None);
        }
    }

    /// The selected cell's change.
    pub fn selected(&self) -> Option<ChangeId> {
        let step = self.view.step?;
        let cell = self.grids.get(&step)?.find(self.view.host, self.view.image)?;
        (self.view.fold.is_none() || self.view.side != Side::Hosts).then_some(ChangeId { step, n: cell.n })
    }

    /// The selected cell, if it failed.
    pub fn selected_failed(&self) -> Option<ChangeId> {
        self.selected().filter(|id| self.grids[&id.step].cell(id.n).stand == Stand::Failed)
    }

    fn viewed(&self) -> Option<&Grid> {
        self.grids.get(&self.view.step?)
    }

    fn folds(grid: &Grid, rank: Rank) -> bool {
        let n = match rank {
            Rank::Over => grid.hosts_before(Rank::ToDo) - grid.hosts_before(Rank::Over),
            Rank::ToDo => grid.hosts.len() - grid.hosts_before(Rank::ToDo),
            _ => 0,
        };
        grid.hosts.len() > LISTED && n > 1
    }

    /// The parts of the list of hosts: for each, its line when it is folded or can be, and the hosts that are listed.
    fn parts(&self, grid: &Grid, failed_only: bool) -> [(Option<Rank>, std::ops::Range<usize>); 3] {
        if failed_only {
            return [(None, 0..grid.hosts_before(Rank::Unknown)), (None, 0..0), (None, 0..0)];
        }
        let (over, to_do) = (grid.hosts_before(Rank::Over), grid.hosts_before(Rank::ToDo));
        let part = |rank, range: std::ops::Range<usize>, open: bool| match Self::folds(grid, rank) {
            true if open => (Some(rank), range),
            true => (Some(rank), range.start..range.start),
            false => (None, range),
        };
        [
            (None, 0..over),
            part(Rank::Over, over..to_do, self.view.over_open),
            part(Rank::ToDo, to_do..grid.hosts.len(), self.view.to_do_open),
        ]
    }

    /// How many rows the matrix by host has.
    pub fn rows(&self, grid: &Grid, failed_only: bool) -> usize {
        self.parts(grid, failed_only).iter().map(|(line, hosts)| usize::from(line.is_some()) + hosts.len()).sum()
    }

    /// What stands in a row of the matrix by host.
    pub fn row(&self, grid: &Grid, mut at: usize, failed_only: bool) -> Option<Row> {
        for (line, hosts) in self.parts(grid, failed_only) {
            if let Some(rank) = line {
                if at == 0 {
                    return Some(Row::Fold(rank));
                }
                at -= 1;
            }
            if at < hosts.len() {
                return grid.host_at(hosts.start + at).map(Row::Host);
            }
            at -= hosts.len();
        }
        None
    }

    /// The row where the eye is: of a folded host, the line it is folded into.
    pub fn row_selected(&self, grid: &Grid, failed_only: bool) -> usize {
        let place = grid.row_of_host(self.view.host);
        let rank = grid.hosts[self.view.host].rank();
        let mut row = 0;
        for (line, hosts) in self.parts(grid, failed_only) {
            if line.is_some() && (self.view.fold == line || (line == Some(rank) && hosts.is_empty())) {
                return row;
            }
            row += usize::from(line.is_some());
            if self.view.fold.is_none() && hosts.contains(&place) {
                return row + place - hosts.start;
            }
            row += hosts.len();
        }
        0
    }

    /// Whether hosts of this rank are unfolded.
    pub fn is_open(&self, rank: Rank) -> bool {
        if rank == Rank::Over { self.view.over_open } else { self.view.to_do_open }
    }

    /// Folds or unfolds the line where the eye is; false where it is on a host.
    pub fn toggle_fold(&mut self, failed_only: bool) -> bool {
        let Some(grid) = self.viewed() else { return false };
        if self.view.side != Side::Hosts {
            return false;
        }
        let Some(Row::Fold(rank)) = self.row(grid, self.row_selected(grid, failed_only), failed_only) else { return false };
        let open = if rank == Rank::Over { &mut self.view.over_open } else { &mut self.view.to_do_open };
        *open = !*open;
        self.view.fold = Some(rank);
        true
    }

    fn go_to_row(&mut self, at: usize, failed_only: bool) {
        let Some(grid) = self.viewed() else { return };
        match self.row(grid, at, failed_only) {
            Some(Row::Host(host)) => (self.view.host, self.view.fold) = (host, None),
            Some(Row::Fold(rank)) => self.view.fold = Some(rank),
            None => {}
        }
    }

    fn go_to_worst_image(&mut self) {
        let worst = |grid: &Grid| grid.worst([self.view.host], 0..grid.images.len()).map(|cell| cell.image);
        if let Some(image) = self.viewed().and_then(worst) {
            self.view.image = image;
        }
    }

    /// The top of the list, after what is listed has changed.
    pub fn go_to_top(&mut self, failed_only: bool) {
        match self.view.side {
            Side::Hosts => {
                self.go_to_row(0, failed_only);
                self.go_to_worst_image();
            }
            Side::Images => {
                if let Some(image) = self.viewed().and_then(|grid| grid.image_at(0)) {
                    self.view.image = image;
                }
            }
            Side::Zoom => {}
        }
    }

    /// What can be looked for by name: images, or hosts in the order of their rows, folded ones too.
    pub fn row_names(&self) -> Vec<String> {
        let Some(grid) = self.viewed() else { return vec![] };
        match self.view.side {
            Side::Images => {
                (0..grid.images.len()).filter_map(|row| Some(grid.images[grid.image_at(row)?].name.clone())).collect()
            }
            _ => grid.hosts_worst_first().map(|host| grid.hosts[host].name.clone()).collect(),
        }
    }

    /// Which of those names the eye is on.
    pub fn name_selected(&self) -> usize {
        self.viewed().map_or(0, |grid| match self.view.side {
            Side::Images => grid.row_of_image(self.view.image),
            _ => grid.row_of_host(self.view.host),
        })
    }

    /// Goes to one of those names; a host that is folded is unfolded with its like.
    pub fn go_to_name(&mut self, row: usize) {
        let Some(grid) = self.viewed() else { return };
        if self.view.side == Side::Images {
            self.view.image = grid.image_at(row).unwrap_or(self.view.image);
            return;
        }
        let Some(host) = grid.host_at(row) else { return };
        let rank = grid.hosts[host].rank();
        self.view.over_open |= rank == Rank::Over;
        self.view.to_do_open |= rank == Rank::ToDo;
        (self.view.host, self.view.fold) = (host, None);
    }

    /// Moves the eye down by so many rows.
    pub fn move_rows(&mut self, by: isize, failed_only: bool, width: u16) {
        let Some(grid) = self.viewed() else { return };
        let moved = |at: usize, n: usize| at.saturating_add_signed(by).min(n.saturating_sub(1));
        match self.view.side {
            Side::Hosts => {
                let to = moved(self.row_selected(grid, failed_only), self.rows(grid, failed_only));
                self.go_to_row(to, failed_only);
            }
            Side::Images => {
                let n = if failed_only { grid.images_before(Rank::Unknown) } else { grid.images.len() };
                let to = moved(grid.row_of_image(self.view.image), n);
                self.view.image = grid.image_at(to).unwrap_or(self.view.image);
            }
            Side::Zoom => {
                let rows = zoom_rows(grid, width);
                let at = rows.iter().position(|row| row.contains(&self.view.host)).unwrap_or_default();
                let to = &rows[moved(at, rows.len())];
                self.view.host = (to.start + self.view.host - rows[at].start).min(to.end - 1);
            }
        }
    }

    /// Moves the eye to the side.
    pub fn move_columns(&mut self, by: isize, width: u16) {
        let Some(grid) = self.viewed() else { return };
        let moved = |at: usize, n: usize| at.saturating_add_signed(by).min(n.saturating_sub(1));
        let (host, image) = (self.view.host, self.view.image);
        match self.view.side {
            Side::Hosts => self.view.image = moved(image, grid.images.len()),
            Side::Zoom => self.view.host = moved(host, grid.hosts.len()),
            Side::Images => {
                let each = hosts_a_sign(grid, width);
                let at = moved(host / each, grid.hosts.len().div_ceil(each));
                let within = at * each..((at + 1) * each).min(grid.hosts.len());
                let first = within.start;
                self.view.host = grid.worst(within, image..image + 1).map_or(first, |cell| cell.host);
            }
        }
    }

    /// By host, by image; from the zoom back to the cells.
    pub fn turn(&mut self) {
        self.view.side = if self.view.side == Side::Hosts { Side::Images } else { Side::Hosts };
        self.view.fold = None;
    }

    pub fn zoom(&mut self) {
        self.view.side = if self.view.side == Side::Zoom { Side::Hosts } else { Side::Zoom };
        self.view.fold = None;
    }
}

/// So many hosts share one sign in the matrix by image: as few as the width allows.
pub fn hosts_a_sign(grid: &Grid, width: u16) -> usize {
    let room = images_room(width);
    let fits = |each: &usize| grouped(grid.hosts.len().div_ceil(*each)) <= room;
    [1, 2, 5, 10, 20, 50, 100].into_iter().find(fits).unwrap_or_else(|| grid.hosts.len().div_ceil(10).max(1))
}

/// The columns that the signs of the matrix by image may take.
pub fn images_room(width: u16) -> usize {
    match usize::from(width) {
        width @ 160.. => width - 100,
        width @ 100.. => width - 70,
        width => width - 44,
    }
}

/// How wide so many signs are in groups of ten.
pub fn grouped(n: usize) -> usize {
    n + n.saturating_sub(1) / 10
}

/// The rows of the zoom: hosts of one group, as many as fit, a round number.
pub fn zoom_rows(grid: &Grid, width: u16) -> Vec<std::ops::Range<usize>> {
    let room = usize::from(width).saturating_sub(38);
    let each = [100, 50, 20].into_iter().find(|n| grouped(*n) <= room).unwrap_or(10);
    let rows = |(_, hosts): &(String, std::ops::Range<usize>)| {
        let end = hosts.end;
        hosts.clone().step_by(each).map(move |start| start..(start + each).min(end)).collect::<Vec<_>>()
    };
    grid.groups.iter().flat_map(rows).collect()
}
