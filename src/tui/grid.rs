//! The changes of one step as a grid of hosts and images: a sign for each cell, sums for each line, causes of trouble.
//! Never folds more than what an entry or a piece of progress touched: thousands of them a second cost next to nothing.

mod cause;
mod names;

use super::app::STALLED_MS;
use super::flow::Flow;
use crate::model::{Change, ChangeId, ChangeState, ImageRef, Plan, Progress, State, Status};
pub use cause::Cause;
use names::{groups, natural, prefix};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Where a cell stands, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stand {
    Failed,
    /// Begun, and nobody has looked since.
    Unknown,
    /// No news for a minute.
    Stalled,
    /// For its next attempt.
    Waiting,
    Running,
    ToDo,
    Undone,
    Skipped,
    Already,
    Done,
    NotRun,
}

/// Every stand, the worst first.
pub const STANDS: [Stand; 11] = {
    use Stand::{Already, Done, Failed, NotRun, Running, Skipped, Stalled, ToDo, Undone, Unknown, Waiting};
    [Failed, Unknown, Stalled, Waiting, Running, ToDo, Undone, Skipped, Already, Done, NotRun]
};

/// How urgent a line is: the order of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Failed,
    Unknown,
    Stalled,
    Waiting,
    Running,
    /// Begun, but nothing of it is on its way just now.
    Begun,
    /// Nothing is left to do.
    Over,
    /// Nothing is begun.
    ToDo,
}

/// What the engine said of a change last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    done: u64,
    at_ms: i64,
    stalled: bool,
}

/// The status of a change without its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Waiting,
    Running,
    Undoing,
    Retrying,
    Found,
    Done,
    Failed,
    Skipped,
    Undone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Index of the change in its step.
    pub n: usize,
    pub host: usize,
    pub image: usize,
    pub stand: Stand,
    /// While bytes come: how many tenths are there.
    pub tenth: Option<u8>,
    /// Bytes it moves, those that came, and those still to come.
    size: u64,
    done: u64,
    left: u64,
    base: Base,
    heard: Option<Heard>,
    since_ms: i64,
}

/// A host or an image: the sums of its cells.
#[derive(Clone, Debug)]
pub struct Sums {
    pub name: String,
    counts: [u32; STANDS.len()],
    pub size: u64,
    pub done: u64,
    pub left: u64,
    /// Bytes that came, ever: a retry does not take them back.
    got: u64,
    flow: Flow,
    rank: Rank,
}

#[derive(Clone, Debug)]
pub struct Grid {
    pub step: usize,
    pub hosts: Vec<Sums>,
    pub images: Vec<Sums>,
    pub names: Vec<ImageRef>,
    /// What every host's name begins with, up to its number.
    pub prefix: String,
    /// Hosts whose names differ in their number only, with what they share.
    pub groups: Vec<(String, Range<usize>)>,
    pub sums: Sums,
    /// By index of the change.
    cells: Vec<Cell>,
    /// By host, then image: index of the change plus one; 0 where there is none.
    at: Vec<u32>,
    hosts_in_order: Order,
    images_in_order: Order,
    running: BTreeMap<usize, Flow>,
    causes: BTreeMap<Cause, BTreeSet<usize>>,
    loud: BTreeMap<usize, Cause>,
    /// Somebody works on it: what is begun is on its way.
    alive: bool,
    /// The rollback comes this far: what is done is to be undone.
    back: bool,
    now_ms: i64,
}

/// Lines sorted worst first; kept sorted, never sorted anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Order(Vec<(Rank, Reverse<u32>, usize)>);

impl Order {
    fn moved(&mut self, from: (Rank, Reverse<u32>, usize), to: (Rank, Reverse<u32>, usize)) {
        if from == to {
            return;
        }
        if let Ok(at) = self.0.binary_search(&from) {
            self.0.remove(at);
        }
        self.insert(to);
    }

    fn insert(&mut self, key: (Rank, Reverse<u32>, usize)) {
        if let Err(at) = self.0.binary_search(&key) {
            self.0.insert(at, key);
        }
    }
}

impl Sums {
    fn new(name: String) -> Self {
        let counts = [0; STANDS.len()];
        Self { name, counts, size: 0, done: 0, left: 0, got: 0, flow: Flow::default(), rank: Rank::ToDo }
    }

    pub fn count(&self, stand: Stand) -> u32 {
        self.counts[stand as usize]
    }

    pub fn total(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// Cells that need nothing more.
    pub fn over(&self) -> u32 {
        self.count(Stand::Done) + self.count(Stand::Already)
    }

    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Its worst cell's stand.
    pub fn worst(&self) -> Stand {
        STANDS.into_iter().find(|stand| self.count(*stand) > 0).unwrap_or(Stand::NotRun)
    }

    /// Bytes a second over the last ten seconds.
    pub fn rate(&self) -> Option<u64> {
        self.flow.rate()
    }

    fn judge(&self, back: bool) -> Rank {
        // On the way back, what is done is what is left to do.
        let open = self.count(if back { Stand::Done } else { Stand::ToDo });
        match self.worst() {
            Stand::Failed => Rank::Failed,
            Stand::Unknown => Rank::Unknown,
            Stand::Stalled => Rank::Stalled,
            Stand::Waiting => Rank::Waiting,
            Stand::Running => Rank::Running,
            _ if open == 0 => Rank::Over,
            _ if open == self.total() => Rank::ToDo,
            _ => Rank::Begun,
        }
    }

    fn key(&self, index: usize) -> (Rank, Reverse<u32>, usize) {
        (self.rank, Reverse(self.count(Stand::Failed)), index)
    }

    fn take(&mut self, cell: &Cell) {
        self.counts[cell.stand as usize] -= 1;
        self.done -= cell.done;
        self.left -= cell.left;
    }

    fn give(&mut self, cell: &Cell) {
        self.counts[cell.stand as usize] += 1;
        self.done += cell.done;
        self.left += cell.left;
    }
}

/// Host and image of a change that belongs into a grid.
fn place(change: &Change) -> Option<(&str, &ImageRef)> {
    match change {
        Change::Pull { host, image, .. } | Change::Tag { host, image, .. } | Change::Remove { host, image, .. } => {
            Some((host, image))
        }
        _ => None,
    }
}

impl Grid {
    /// The grid of a step whose changes are each about one image on one host, with more than one of both.
    pub fn of(plan: &Plan, step: usize) -> Option<Self> {
        let changes = &plan.steps[step].changes;
        let (mut hosts, mut images) = (BTreeMap::new(), BTreeMap::new());
        let mut places = vec![];
        for planned in changes {
            let (host, image) = place(&planned.change)?;
            let (h, i) = (hosts.len(), images.len());
            places.push((*hosts.entry(host).or_insert(h), *images.entry(image).or_insert(i)));
        }
        if hosts.len() < 2 || images.len() < 2 {
            return None;
        }
        // In the order of their names, numbers by their value, wherever the plan has them.
        let mut by_name: Vec<(&str, usize)> = hosts.into_iter().collect();
        by_name.sort_by_cached_key(|(name, _)| natural(name));
        let mut images: Vec<(&ImageRef, usize)> = images.into_iter().collect();
        images.sort_by_key(|(_, i)| *i);
        let mut moved = vec![0; by_name.len()];
        by_name.iter().enumerate().for_each(|(to, (_, from))| moved[*from] = to);
        let mut grid = Self {
            step,
            prefix: prefix(by_name.iter().map(|(name, _)| *name)),
            groups: groups(by_name.iter().map(|(name, _)| *name)),
            hosts: by_name.iter().map(|(name, _)| Sums::new((*name).to_owned())).collect(),
            names: images.iter().map(|(image, _)| (*image).clone()).collect(),
            images: images.iter().map(|(image, _)| Sums::new(image.short())).collect(),
            sums: Sums::new(String::new()),
            cells: Vec::with_capacity(changes.len()),
            at: vec![0; by_name.len() * images.len()],
            hosts_in_order: Order::default(),
            images_in_order: Order::default(),
            running: BTreeMap::new(),
            causes: BTreeMap::new(),
            loud: BTreeMap::new(),
            alive: false,
            back: false,
            now_ms: 0,
        };
        for (n, ((host, image), planned)) in places.into_iter().zip(changes).enumerate() {
            let host = moved[host];
            let at = &mut grid.at[host * grid.images.len() + image];
            // Two changes of one image on one host: no grid can show them.
            if *at != 0 {
                return None;
            }
            *at = u32::try_from(n + 1).ok()?;
            let size = if planned.found { 0 } else { planned.change.size_bytes() };
            let cell = Cell {
                n,
                host,
                image,
                stand: Stand::ToDo,
                tenth: None,
                size,
                done: 0,
                left: size,
                base: Base::Waiting,
                heard: None,
                since_ms: 0,
            };
            for sums in [&mut grid.hosts[host], &mut grid.images[image], &mut grid.sums] {
                sums.size += size;
                sums.give(&cell);
            }
            grid.cells.push(cell);
        }
        for (sums, order) in [(&grid.hosts, &mut grid.hosts_in_order), (&grid.images, &mut grid.images_in_order)] {
            sums.iter().enumerate().for_each(|(i, sums)| order.insert(sums.key(i)));
        }
        Some(grid)
    }

    /// Folds a whole state in. `alive`: somebody works on the run now.
    pub fn fold(&mut self, state: &State, progress: &BTreeMap<ChangeId, Progress>, alive: bool, now_ms: i64) {
        self.alive = alive;
        self.now_ms = now_ms;
        self.back = state.rolling_back.is_some_and(|to| self.step >= to);
        for n in 0..self.cells.len() {
            let id = ChangeId { step: self.step, n };
            self.cells[n].heard = progress.get(&id).map(heard);
            self.set(n, state.status(id), false);
        }
        for (sums, order) in [(&mut self.hosts, &mut self.hosts_in_order), (&mut self.images, &mut self.images_in_order)] {
            order.0.clear();
            for (i, sums) in sums.iter_mut().enumerate() {
                sums.rank = sums.judge(self.back);
                order.insert(sums.key(i));
            }
        }
    }

    /// A change of the step has turned. `anew`: what was heard of it is about its past.
    pub fn set(&mut self, n: usize, change: &ChangeState, anew: bool) {
        let cell = &mut self.cells[n];
        if anew {
            cell.heard = None;
        }
        cell.since_ms = change.turned_ms;
        cell.base = match &change.status {
            Status::Waiting => Base::Waiting,
            Status::Running => Base::Running,
            Status::Retrying(_) => Base::Retrying,
            Status::Found => Base::Found,
            Status::Done => Base::Done,
            Status::Failed(_) | Status::UndoFailed(_) => Base::Failed,
            Status::Skipped(_) => Base::Skipped,
            Status::Undoing => Base::Undoing,
            Status::Undone => Base::Undone,
        };
        let words = match &change.status {
            Status::Failed(fault) | Status::UndoFailed(fault) => Some((fault.kind as u8, fault.why.as_str())),
            Status::Retrying(why) => Some((0, root(why))),
            _ => None,
        };
        self.turn(n, words);
    }

    /// Takes news of a change on its way.
    pub fn hear(&mut self, progress: &Progress) {
        let n = progress.change.n;
        if n < self.cells.len() {
            self.cells[n].heard = Some(heard(progress));
            self.turn(n, None);
        }
    }

    /// The clock went on: measures rates, and finds what has been silent.
    pub fn tick(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        let running: Vec<usize> = self.running.keys().copied().collect();
        for n in running {
            self.turn(n, None);
            let done = self.cells[n].done;
            if let Some(flow) = self.running.get_mut(&n) {
                flow.sample(now_ms, done);
            }
        }
        for sums in self.hosts.iter_mut().chain(&mut self.images) {
            if sums.count(Stand::Running) + sums.count(Stand::Stalled) > 0 {
                sums.flow.sample(now_ms, sums.got);
            } else {
                sums.flow.stop();
            }
        }
    }

    /// Judges one cell anew and carries the difference into every sum.
    fn turn(&mut self, n: usize, words: Option<(u8, &str)>) {
        let old = &self.cells[n];
        let mut cell = old.clone();
        cell.judge(self.alive, self.back, self.now_ms);
        let same_words = words.is_none() || self.loud.get(&n).is_some_and(|c| words == Some((c.kind, c.why.as_str())));
        if cell == *old && same_words {
            return;
        }
        let came = cell.done.saturating_sub(old.done);
        let turned = cell.stand != old.stand;
        let lines = [
            (&mut self.hosts[cell.host], &mut self.hosts_in_order, cell.host),
            (&mut self.images[cell.image], &mut self.images_in_order, cell.image),
        ];
        for (line, order, i) in lines {
            let before = line.key(i);
            line.take(old);
            line.give(&cell);
            line.got += came;
            if turned {
                line.rank = line.judge(self.back);
                order.moved(before, line.key(i));
            }
        }
        self.sums.take(old);
        self.sums.give(&cell);
        let on_its_way = matches!(cell.base, Base::Running | Base::Undoing) && self.alive;
        if on_its_way {
            self.running.entry(n).or_default();
        } else {
            self.running.remove(&n);
        }
        let quiet = cell.stand > Stand::Waiting;
        let stand = cell.stand;
        self.cells[n] = cell;
        if turned || !same_words {
            self.hush(n);
            if !quiet {
                self.blame(n, stand, words);
            }
        }
    }

    fn hush(&mut self, n: usize) {
        let Some(cause) = self.loud.remove(&n) else { return };
        if let Some(cells) = self.causes.get_mut(&cause) {
            cells.remove(&n);
            if cells.is_empty() {
                self.causes.remove(&cause);
            }
        }
    }

    fn blame(&mut self, n: usize, stand: Stand, words: Option<(u8, &str)>) {
        let (kind, why) = match stand {
            Stand::Unknown => (0, "begun, and nobody has looked since"),
            Stand::Stalled => (0, "no news for a minute or more"),
            _ => words.unwrap_or_default(),
        };
        let cause = Cause::new(stand, kind, why);
        self.causes.entry(cause.clone()).or_default().insert(n);
        self.loud.insert(n, cause);
    }

    pub fn cell(&self, n: usize) -> &Cell {
        &self.cells[n]
    }

    /// The cell of a host and an image, if the plan has a change there.
    pub fn find(&self, host: usize, image: usize) -> Option<&Cell> {
        let at = *self.at.get(host * self.images.len() + image)? as usize;
        at.checked_sub(1).map(|n| &self.cells[n])
    }

    /// Hosts, the worst first.
    pub fn hosts_worst_first(&self) -> impl ExactSizeIterator<Item = usize> {
        self.hosts_in_order.0.iter().map(|(_, _, host)| *host)
    }

    /// The host at a place in the order of the rows.
    pub fn host_at(&self, row: usize) -> Option<usize> {
        self.hosts_in_order.0.get(row).map(|(_, _, host)| *host)
    }

    pub fn image_at(&self, row: usize) -> Option<usize> {
        self.images_in_order.0.get(row).map(|(_, _, image)| *image)
    }

    /// The place of a host in the order of the rows.
    pub fn row_of_host(&self, host: usize) -> usize {
        self.hosts_in_order.0.binary_search(&self.hosts[host].key(host)).unwrap_or_else(|at| at)
    }

    pub fn row_of_image(&self, image: usize) -> usize {
        self.images_in_order.0.binary_search(&self.images[image].key(image)).unwrap_or_else(|at| at)
    }

    /// How many hosts come before the first of this rank.
    pub fn hosts_before(&self, rank: Rank) -> usize {
        self.hosts_in_order.0.partition_point(|(of, _, _)| *of < rank)
    }

    pub fn images_before(&self, rank: Rank) -> usize {
        self.images_in_order.0.partition_point(|(of, _, _)| *of < rank)
    }

    /// The worst cell of some hosts and some images; the first of the worst.
    pub fn worst(&self, hosts: impl IntoIterator<Item = usize>, images: Range<usize>) -> Option<&Cell> {
        let cells = hosts.into_iter().flat_map(|host| images.clone().filter_map(move |image| self.find(host, image)));
        cells.min_by_key(|cell| (cell.stand, cell.tenth.unwrap_or_default()))
    }

    /// Trouble by cause: failures first, then the rest, the most cells first.
    pub fn causes(&self) -> Vec<(&Cause, &BTreeSet<usize>)> {
        let mut out: Vec<_> = self.causes.iter().collect();
        out.sort_by_key(|(cause, cells)| (cause.stand, Reverse(cells.len()), cells.first().copied()));
        out
    }

    /// The cause of a cell's trouble, if it has any.
    pub fn cause_of(&self, n: usize) -> Option<&Cause> {
        self.loud.get(&n)
    }

    /// Bytes a second of one cell on its way.
    pub fn rate_of(&self, n: usize) -> Option<u64> {
        self.running.get(&n)?.rate()
    }

    /// Cells on their way or waiting for their next attempt.
    pub fn busy(&self) -> Vec<usize> {
        let waiting = self.causes.iter().filter(|(cause, _)| cause.stand == Stand::Waiting).flat_map(|(_, cells)| cells);
        let mut out: Vec<usize> = self.running.keys().chain(waiting).copied().collect();
        out.sort_unstable();
        out
    }

    pub fn goes_back(&self) -> bool {
        self.back
    }

    /// What is to be seen of it, for comparing two grids.
    #[cfg(test)]
    fn seen(&self) -> impl PartialEq + std::fmt::Debug + '_ {
        let line = |sums: &Sums| (sums.counts, sums.size, sums.done, sums.left, sums.rank);
        let lines: Vec<_> = self.hosts.iter().chain(&self.images).chain([&self.sums]).map(line).collect();
        let running: Vec<usize> = self.running.keys().copied().collect();
        (&self.cells, lines, &self.hosts_in_order, &self.images_in_order, running, (&self.causes, &self.loud))
    }
}

impl Cell {
    fn judge(&mut self, alive: bool, back: bool, now_ms: i64) {
        let silent = now_ms - self.heard.map_or(0, |heard| heard.at_ms).max(self.since_ms) > STALLED_MS;
        self.stand = match self.base {
            Base::Waiting if back => Stand::NotRun,
            Base::Waiting => Stand::ToDo,
            Base::Running | Base::Undoing if !alive => Stand::Unknown,
            Base::Running if silent || self.heard.is_some_and(|heard| heard.stalled) => Stand::Stalled,
            Base::Running | Base::Undoing => Stand::Running,
            Base::Retrying => Stand::Waiting,
            Base::Found => Stand::Already,
            Base::Done => Stand::Done,
            Base::Failed => Stand::Failed,
            Base::Skipped => Stand::Skipped,
            Base::Undone => Stand::Undone,
        };
        self.done = match self.base {
            Base::Found | Base::Done => self.size,
            Base::Running | Base::Retrying => self.heard.map_or(0, |heard| heard.done.min(self.size)),
            _ => 0,
        };
        self.left = match self.base {
            Base::Waiting | Base::Failed | Base::Running | Base::Retrying => self.size - self.done,
            _ => 0,
        };
        let tenths = |done: u64| u8::try_from((done.saturating_mul(10) / self.size).min(9)).unwrap_or(9);
        self.tenth = (self.base == Base::Running && self.size > 0).then(|| tenths(self.done));
    }
}

fn heard(progress: &Progress) -> Heard {
    let stalled = progress.phase == "stalled";
    Heard { done: progress.done, at_ms: progress.at_ms, stalled }
}

/// A fault in one text says what was tried, then why it did not work: only the second can be the same elsewhere.
pub fn root(fault: &str) -> &str {
    fault.split_once("`: ").map_or(fault, |(_, why)| why)
}

#[cfg(test)]
mod tests;
