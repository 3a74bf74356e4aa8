use std::collections::BTreeSet;

use serde_json::Value;

use crate::{list, manager, query, read, text};

fn dashboard() -> Value {
    serde_json::from_str(&read("manifests/components/monitoring/dashboard.json")).expect("JSON")
}

/// Rows and what stands in them, one after the other.
fn panels(dashboard: &Value) -> Vec<&Value> {
    list(&dashboard["panels"])
        .iter()
        .flat_map(|panel| std::iter::once(panel).chain(list(&panel["panels"])))
        .collect()
}

#[tokio::test]
async fn the_dashboard_asks_for_what_the_manager_tells() {
    let scrape = manager::scrape().await;
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        for target in list(&panel["targets"]) {
            let templates = [text(&target["legendFormat"])];
            let problems = query::problems(text(&target["expr"]), &templates, &scrape);
            assert!(problems.is_empty(), "{}: {problems:#?}", panel["title"]);
        }
    }
}

#[test]
fn every_metric_has_a_place_on_the_dashboard() {
    let names: BTreeSet<_> = panels(&dashboard())
        .iter()
        .flat_map(|panel| list(&panel["targets"]))
        .map(|target| text(&target["expr"]).to_owned())
        .collect();
    let queries = names
        .into_iter()
        .collect::<Vec<_>>()
        .join("\n");
    for family in crate::documentation::metrics() {
        assert!(queries.contains(&family.name), "{} is missing", family.name);
    }
}

#[test]
fn every_panel_has_its_id_place_query_unit_and_source() {
    let dashboard = dashboard();
    let variable = &dashboard["templating"]["list"][0];
    assert_eq!(
        (&variable["name"], &variable["type"], &variable["query"]),
        (
            &"datasource".into(),
            &"datasource".into(),
            &"prometheus".into()
        )
    );
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = text(&panel["title"]);
        assert!(
            ids.insert(panel["id"].as_u64().expect("an id")),
            "the id of {title} is not its own"
        );
        let [x, y, width, height] = ["x", "y", "w", "h"].map(|side| {
            panel["gridPos"][side]
                .as_u64()
                .expect("a place")
        });
        assert!(x + width <= 24, "{title} is too wide");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} lies on another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title} has no unit"
        );
        assert!(!list(&panel["targets"]).is_empty(), "{title} asks nothing");
        let mut letters = BTreeSet::new();
        for target in list(&panel["targets"]) {
            assert!(letters.insert(text(&target["refId"])), "{title}");
            for source in [&panel["datasource"], &target["datasource"]] {
                assert_eq!(source["uid"], "${datasource}", "{title}");
            }
        }
    }
}
