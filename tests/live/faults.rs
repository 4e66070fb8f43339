//! A registry that stumbles or refuses: asked again where that helps, by a person where it does not.

use crate::{
    lab::{Lab, approvals},
    world::World,
};

const NODE: &str = "image gpu-2 cr.backend.ai/stable/node:14-ubuntu18.04 ";
const TENSORFLOW: &str = "image gpu-1 cr.backend.ai/stable/python-tensorflow:2.3-py36-cuda10.1 ";

#[test]
fn a_refused_pull_stops_the_run_and_can_be_tried_again() {
    let lab = Lab::drained();
    let plan = lab.plan();
    lab.run(&plan, &[]).ends_with(12);
    lab.fault(r#"{"status":404,"path":"/v2/stable/node/"}"#);
    let said = lab.resume(&plan, &["pull"]).ends_with(14);
    said.says(&["error: cannot pull", "cr.backend.ai/stable/node:14-ubuntu18.04", "gpu-2", "FAILED"]);
    let world = World::exact(&lab);
    assert!(!world.has(NODE) && world.has(TENSORFLOW), "one agent's trouble does not keep the others from pulling");
    // Without being told so, nobody tries again.
    lab.resume(&plan, &["pull"]).ends_with(14);
    // It is back, but stumbles: what fails in passing is asked again without anybody.
    lab.fault(r#"{"status":503,"path":"/v2/stable/node/","count":3}"#);
    let pull = &approvals(&plan, &["pull"])[0];
    lab.castoff(&["resume", "--headless", "--retry", pull]).ends_with(12).says(&["the gate of `stop` needs an answer"]);
    assert!(World::exact(&lab).has(NODE));
}
