//! Runbooks as written: the shipped ones plan as reviewed, and every mistake is told with its place.

use castoff::actions::ACTIONS;
use castoff::cluster::sim::demo;
use castoff::report;
use castoff::runbook::{Runbook, SHIPPED, schema};

fn shipped() -> &'static str {
    SHIPPED[0].1
}

/// Replaces one piece of the shipped runbook and gives the mistake that follows.
fn mistake(from: &str, to: &str) -> String {
    assert!(shipped().contains(from), "{from}");
    Runbook::parse("my.toml", &shipped().replacen(from, to, 1), &[]).unwrap_err().to_string()
}

#[test]
fn the_shipped_plan_is_the_reviewed_one() {
    let runbook = Runbook::parse(SHIPPED[0].0, shipped(), &[]).unwrap();
    let mut world = demo(1_800_000_000_000);
    world.hosts.retain(|name, _| ["gpu-01", "gpu-04", "gpu-06"].contains(&name.as_str()));
    let (plan, _) = runbook.plan(&world).unwrap();
    // The clock of this machine's zone is no part of the plan.
    let text = report::plan_text(&plan, 160).lines().skip(1).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!("plan", text);
    let (again, _) = runbook.plan(&world).unwrap();
    assert_eq!(plan.plan, again.plan, "the same cluster gives the same plan id");
}

#[test]
fn the_sum_of_a_plan_counts_each_host_once_and_units_too() {
    let mut world = demo(1_800_000_000_000);
    world.machines.retain(|name, _| ["gpu-01", "gpu-02"].contains(&name.as_str()));
    world
        .machines
        .values_mut()
        .for_each(|machine| _ = machine.units.insert("puppet".to_owned(), Some(castoff::model::Service::Running)));
    let file = |id: &str| format!("[[step]]\nid = \"{id}\"\naction = \"write-file\"\npath = \"/etc/{id}\"\ntext = \"x\"\n");
    let unit = "[[step]]\nid = \"stop\"\naction = \"set-unit\"\nunit = \"puppet\"\nstate = \"stopped\"\n";
    let sum = |steps: &str| {
        let text = format!("name = \"own\"\ntitle = \"Own\"\n{steps}");
        report::sum(&Runbook::parse("own.toml", &text, &[]).unwrap().plan(&world).unwrap().0)
    };
    let whole = sum(&format!("{}{}{unit}", file("one"), file("two")));
    assert!(whole.starts_with("Plan: 2 hosts to configure, 2 units to stop or start; "), "{whole}");
    assert!(sum(unit).starts_with("Plan: 2 units to stop or start; "), "{}", sum(unit));
}

#[test]
fn the_plan_as_json_keeps_its_contract() {
    let (plan, _) = Runbook::parse(SHIPPED[0].0, shipped(), &[]).unwrap().plan(&demo(1_800_000_000_000)).unwrap();
    let json = serde_json::to_value(&plan).unwrap();
    for field in ["v", "plan", "runbook", "cluster", "steps", "ledger", "totals"] {
        assert!(!json[field].is_null(), "{field}");
    }
    assert_eq!(json["v"], 1);
    for field in ["id", "title", "gate", "changes"] {
        assert!(json["steps"][1].get(field).is_some(), "step: {field}");
    }
    for field in ["id", "kind", "subject", "where", "before", "after", "reversible"] {
        assert!(!json["steps"][1]["changes"][0][field].is_null(), "change: {field}");
    }
    let back: castoff::model::Plan = serde_json::from_value(json).unwrap();
    assert_eq!(back, plan);
}

#[test]
fn a_step_that_is_called_as_a_table_is_set_by_its_own_fields() {
    for (name, text) in SHIPPED.iter().filter(|(name, _)| name.ends_with("-mirror")) {
        let sets = ["mirror.url=https://m.example", "mirror.gate.ask=name"].map(str::to_owned);
        Runbook::parse(name, text, &sets).unwrap();
        let refused = Runbook::parse(name, text, &["mirror.nonsense=1".to_owned()]).err().unwrap().to_string();
        assert!(refused.contains("nonsense"), "{refused}");
    }
    let text = SHIPPED.iter().find(|(name, _)| *name == "docker-mirror").unwrap().1;
    let sets = ["mirror.url=https://m.example", "mirror.restart=true"].map(str::to_owned);
    let (plan, _) = Runbook::parse("docker-mirror", text, &sets).unwrap().plan(&demo(1_800_000_000_000)).unwrap();
    assert!(plan.steps.iter().flat_map(|step| &step.changes).all(|planned| match &planned.change {
        castoff::model::Change::Configure { daemon, .. } => daemon.as_ref().unwrap().restarts(),
        _ => true,
    }));
}

#[test]
fn every_mistake_has_its_place_and_what_is_allowed() {
    insta::assert_snapshot!("unknown field", mistake("registry = \"cr.backend.ai\"\ntype", "registri = \"cr.backend.ai\"\ntype"));
    insta::assert_snapshot!("unknown action", mistake("action = \"pull-images\"", "action = \"pull-image\""));
    insta::assert_snapshot!("wrong type", mistake("total = 48", "total = \"many\""));
    insta::assert_snapshot!("unknown top field", mistake("[limits]", "[limit]"));
    insta::assert_snapshot!("two steps with one id", mistake("id = \"stop\"", "id = \"pull\""));
    insta::assert_snapshot!("not toml", mistake("[move]", "[move"));
    insta::assert_snapshot!("no id", mistake("id = \"rescan\"\n", ""));
    insta::assert_snapshot!("gate", mistake("ask = \"count\"", "ask = \"shout\""));
    insta::assert_snapshot!("needed for nothing", mistake("needed-for = [\"registry\"", "needed-for = [\"regestry\""));
    insta::assert_snapshot!("two registries", mistake("\"cr.backend.ai/community\"]", "\"other.example/community\"]"));
}

#[test]
fn every_mistake_in_waves_has_its_place() {
    let all = "then = [5, \"25%\"]\nhold";
    insta::assert_snapshot!("waves unknown field", mistake("canary = 1", "canery = 1"));
    insta::assert_snapshot!("waves size", mistake(all, "then = [5, \"a quarter\"]\nhold"));
    insta::assert_snapshot!("waves zero", mistake(all, "then = [0]\nhold"));
    insta::assert_snapshot!("waves hold", mistake("hold = \"prove\"", "hold = \"proof\""));
    insta::assert_snapshot!("waves no failures", mistake("failures = 3", "failures = 0"));
    let own = "[step.waves]\nthen = [5, \"25%\", \"50%\"]";
    insta::assert_snapshot!("waves size of a step", mistake(own, "[step.waves]\nthen = [5, \"250%\"]"));
    insta::assert_snapshot!("waves unknown field of a step", mistake(own, "[step.waves]\nthem = [5]"));
    insta::assert_snapshot!("waves hold without a canary", mistake(own, "[step.waves]\ncanary = 0\nhold = \"approve\""));
    insta::assert_snapshot!("waves of no host", mistake("to = \"stopped\"\n", "to = \"stopped\"\nwaves = { canary = 1 }\n"));
}

#[test]
fn values_can_be_set_and_wrong_ones_are_refused() {
    let set = |sets: &[&str]| {
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        Runbook::parse(SHIPPED[0].0, shipped(), &sets)
    };
    let (plan, _) =
        set(&["limits.total=8", "pull.also=[\"cr.backend.ai/stable/python:3.12-ubuntu22.04\"]"]).unwrap().plan(&demo(0)).unwrap();
    assert_eq!(plan.limits.total, 8);
    let also = plan.steps[1].changes.iter().filter(|c| c.subject.ends_with("python:3.12-ubuntu22.04")).count();
    assert_eq!(also, 12, "every agent gets it");
    let (plan, _) = set(&["waves.canary=2", "remove.waves.failures=4"]).unwrap().plan(&demo(0)).unwrap();
    let waves = |id: &str| plan.steps[plan.step_index(id).unwrap()].waves.clone().unwrap();
    assert_eq!((waves("pull").hosts[0].len(), waves("remove").hosts[0].len()), (2, 2));
    assert_eq!((waves("pull").failures, waves("remove").failures), (3, 4));
    for (wrong, said) in [
        ("limits", "name=value"),
        ("nothing.x=1", "no step `nothing`"),
        ("limits.totals=8", "totals"),
        ("pull.also=3", "expected a sequence"),
        ("waves.canary=some", "invalid type"),
        ("stop.waves.canary=1", "actions on hosts"),
    ] {
        let error = set(&[wrong]).unwrap_err().to_string();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}

#[test]
fn the_schema_knows_every_action() {
    let text = schema().to_string();
    for kind in ACTIONS {
        assert!(text.contains(&format!("\"const\":\"{}\"", kind.name)), "{}", kind.name);
    }
    assert!(!text.contains("$ref"), "it can be used as it is");
    let json = schema();
    for (n, kind) in ACTIONS.iter().enumerate() {
        let waves = &json["properties"]["step"]["items"]["oneOf"][n]["properties"]["waves"];
        assert_eq!(waves.is_object(), kind.on_hosts, "{}", kind.name);
    }
    assert!(json["properties"]["waves"].to_string().contains("canary"));
}
