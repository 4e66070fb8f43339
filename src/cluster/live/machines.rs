//! The hosts of a cluster as machines: what of them is wanted is read, and a change of their files is made and taken back.
//! Nothing is written that does not stand as planned.

use super::Live;
use crate::cluster::Report;
use crate::model::{Change, Fault, FaultKind, Machine, Part, Standing, Unanswered, Wants};
use std::collections::BTreeMap;

impl Live {
    pub(super) async fn read_machines(&self, _wants: &Wants) -> (BTreeMap<String, Machine>, Vec<Unanswered>) {
        (
            BTreeMap::new(),
            vec![Unanswered { part: Part::Machines, subject: "hosts".to_owned(), why: "not read".to_owned(), hint: None }],
        )
    }

    pub(super) async fn configure_standing(&self, change: &Change) -> Result<Standing, Fault> {
        Err(Fault::new(FaultKind::Lasting, change.subject(), "not read"))
    }

    pub(super) async fn configure(&self, change: &Change, _report: Report<'_>) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Lasting, change.subject(), "not read"))
    }

    pub(super) async fn unconfigure(&self, change: &Change, _report: Report<'_>) -> Result<(), Fault> {
        Err(Fault::new(FaultKind::Lasting, change.subject(), "not read"))
    }
}
