//! Whatever else still names the old registry and is changed by no step: found and listed with what to do.

use super::Move;
use crate::model::{Inventory, Problem, image::backend_ai_registry};
use serde_json::Value as Json;

/// Notes for the plan; pure.
pub fn left_over(inventory: &Inventory, moved: &Move) -> Vec<Problem> {
    let is_old = |name: &str| name.parse().is_ok_and(|image| moved.is_old(&image));
    let old = backend_ai_registry(moved.old_registry());
    let note = |subject: String, why: String, place: &str, hint: String| Problem {
        subject,
        why,
        hint: Some(hint),
        owner: None,
        place: Some(place.to_owned()),
        since_ms: None,
    };
    let mut out = vec![];
    for row in inventory.rows("session_templates") {
        let text = |column: &str| row.get(column).and_then(Json::as_str).unwrap_or("");
        let named = text("image");
        if is_old(named) {
            let name = if text("name").is_empty() { text("id") } else { text("name") };
            let hint = "nothing rewrites templates: its owner has to save it anew with the new image".to_owned();
            out.push(note(format!("session template {name}"), format!("starts from {named}"), "postgres", hint));
        }
    }
    let known = inventory.image_rows(old);
    for row in inventory.rows("endpoints").iter().filter(|row| row.get("stage").and_then(Json::as_str) != Some("destroyed")) {
        let image = known.iter().find(|image| image.get("id") == row.get("image"));
        if let Some(image) = image.and_then(|image| image.get("name")).and_then(Json::as_str) {
            let name = row.get("name").and_then(Json::as_str).unwrap_or("");
            let hint = "its owner has to create it anew from the new image: replicas of the old one will not start".to_owned();
            out.push(note(format!("endpoint {name}"), format!("serves with {image}"), "postgres", hint));
        }
    }
    for (name, manager) in &inventory.managers {
        if let Some(image) = manager.importer_image.as_deref().filter(|image| is_old(image)) {
            let hint = format!("set `importer-image` in manager.toml on {name}: the image import breaks without it");
            out.push(note(format!("importer-image of {name}"), format!("is {image}"), name, hint));
        }
    }
    for (known, architecture) in inventory.known_images(old) {
        if !architecture.is_empty() && architecture != "x86_64" {
            let why = format!("is known for {architecture} too; its row goes with the others");
            let hint = "look whether the new registry offers this architecture, if you have such agents".to_owned();
            out.push(note(format!("image {}", known.name), why, "postgres", hint));
        }
    }
    for alias in inventory.aliases() {
        // Before 22.03 the manager looks an alias up unquoted but stores it quoted.
        if alias.architecture.is_empty() && alias.alias.contains([':', '/']) {
            let why = "contains `:` or `/`: managers before 22.03 never resolve it".to_owned();
            out.push(note(format!("alias {}", alias.alias), why, "etcd", "give it another name, or update".to_owned()));
        }
    }
    for row in inventory.rows("domains") {
        let entries =
            row.get("allowed_docker_registries").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        for entry in entries
            .filter(|entry| entry.contains("docker.io") && crate::model::image::canonical_registry(entry) != moved.old_registry())
        {
            let name = row.get("name").and_then(Json::as_str).unwrap_or("");
            let hint = "if it is a mirror of Docker Hub that goes too, take it out by hand".to_owned();
            out.push(note(format!("domain {name}"), format!("allows {entry}, which is left as it is"), "postgres", hint));
        }
    }
    for (host_name, host) in &inventory.hosts {
        for container in host.containers.iter().filter(|c| c.kernel.is_none() && is_old(&c.image)) {
            let why = format!("was created as {} and is not Backend.AI's", container.image);
            let hint = format!("its image is kept; create {} anew from the new name when it suits", container.name);
            out.push(note(format!("container {}", container.name), why, host_name, hint));
        }
    }
    out
}
