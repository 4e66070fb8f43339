//! Changes that are alike to the limits are asked about once a turn: a step may have 100 000 of them, and a turn comes
//! with every change that ends. It decides nothing: `Flights` does.

use super::flight::{Flights, Wait};
use super::wave::Tally;
use crate::model::{ChangeId, Limits, Plan, PlannedStep, WayBack};
use std::collections::BTreeMap;

/// Which changes of one step are alike: the same place, the same registry, and as much asked of both.
#[derive(Default)]
pub struct Alike {
    step: Option<usize>,
    /// The class of each change.
    of: Vec<usize>,
    /// Of each class, whether its changes have no way back.
    lost: Vec<bool>,
}

impl Alike {
    /// Sorts the changes of a step into classes, once for all its turns.
    pub fn sort(&mut self, step: usize, plan: &Plan) {
        if self.step == Some(step) {
            return;
        }
        let planned: &PlannedStep = &plan.steps[step];
        let mut known = BTreeMap::new();
        self.step = Some(step);
        self.lost.clear();
        self.of.clear();
        for planned in &planned.changes {
            let lost = matches!(planned.way_back, WayBack::None(_));
            let change = &planned.change;
            let key = (&planned.place, change.registry(), change.on_host(), Flights::asks_registry(planned), lost);
            let class = *known.entry(key).or_insert_with(|| {
                self.lost.push(lost);
                self.lost.len() - 1
            });
            self.of.push(class);
        }
    }

    pub fn has_no_way_back(&self, id: ChangeId) -> bool {
        self.lost[self.of[id.n]]
    }

    /// Goes over changes in their order and hands those that may start to `start`, which starts them. Gives back how many
    /// each reason holds back.
    pub fn sieve(
        &self,
        ids: impl Iterator<Item = ChangeId>,
        (plan, limits): (&Plan, &Limits),
        flights: &mut Flights,
        mut start: impl FnMut(&mut Flights, ChangeId),
    ) -> Tally {
        // One that is in flight or has been has a wait of its own.
        let mut own = vec![false; self.of.len()];
        flights.known().filter(|id| Some(id.step) == self.step).for_each(|id| own[id.n] = true);
        // What starts only leaves less room: a class that was held back stays so for this turn.
        let mut held_back: Vec<Option<(Wait, u64)>> = vec![None; self.lost.len()];
        let mut held = Tally::new();
        for id in ids {
            let class = &mut held_back[self.of[id.n]];
            if let Some((_, n)) = class.as_mut().filter(|_| !own[id.n]) {
                *n += 1;
                continue;
            }
            match flights.may_start(id, plan.change(id), limits) {
                Ok(()) => start(flights, id),
                Err(wait) if own[id.n] => count(&mut held, wait, 1),
                Err(wait) => *class = Some((wait, 1)),
            }
        }
        held_back.into_iter().flatten().for_each(|(wait, n)| count(&mut held, wait, n));
        held
    }
}

fn count(held: &mut Tally, (why, until): Wait, more: u64) {
    let (n, first) = held.entry(why).or_default();
    *n += more;
    *first = match (*first, until) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    };
}
