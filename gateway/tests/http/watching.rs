//! The alerts and the dashboard in `deploy/` ask for metrics and labels that
//! there are.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use promql_parser::label::Matchers;
use promql_parser::parser::{self, Expr, LabelModifier};
use serde_json::Value;

use crate::metrics::{Metrics, all, busy};

const ALERTS: &str = include_str!("../../../deploy/prometheus/alerts.yaml");
const DASHBOARD: &str = include_str!("../../../deploy/grafana/taskq.json");
const GUIDE: &str = include_str!("../../../docs/observability.md");

type Labels = BTreeSet<String>;

/// The labels of what an expression gives. Fails for a metric that there is
/// not, and for a label that it has not.
fn labels(expr: &Expr, metrics: &Metrics) -> Result<Labels, String> {
    match expr {
        Expr::VectorSelector(selector) => selected(
            selector.name.as_deref().unwrap_or_default(),
            &selector.matchers,
            metrics,
        ),
        Expr::MatrixSelector(matrix) => selected(
            matrix.vs.name.as_deref().unwrap_or_default(),
            &matrix.vs.matchers,
            metrics,
        ),
        Expr::Aggregate(aggregate) => {
            let inner = labels(&aggregate.expr, metrics)?;
            let Some(LabelModifier::Include(by)) = &aggregate.modifier else {
                let keeps = ["topk", "bottomk"].contains(&aggregate.op.to_string().as_str());
                return Ok(if keeps { inner } else { Labels::new() });
            };
            all_known(&by.labels, &inner)?;
            Ok(by.labels.iter().cloned().collect())
        }
        Expr::Binary(binary) => {
            let (left, right) = (labels(&binary.lhs, metrics)?, labels(&binary.rhs, metrics)?);
            let matching = binary.modifier.as_ref().and_then(|it| it.matching.as_ref());
            if let Some(LabelModifier::Include(on)) = matching {
                all_known(&on.labels, &left)?;
                all_known(&on.labels, &right)?;
            }
            Ok(if left.is_empty() { right } else { left })
        }
        Expr::Paren(paren) => labels(&paren.expr, metrics),
        Expr::Unary(unary) => labels(&unary.expr, metrics),
        Expr::Subquery(subquery) => labels(&subquery.expr, metrics),
        Expr::Call(call) => {
            let mut known = Labels::new();
            for argument in &call.args.args {
                known.extend(labels(argument, metrics)?);
            }
            Ok(known)
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(Labels::new()),
        Expr::Extension(_) => Err("an extension of PromQL".to_owned()),
    }
}

fn selected(name: &str, matchers: &Matchers, metrics: &Metrics) -> Result<Labels, String> {
    let of_histogram = ["_bucket", "_sum", "_count"]
        .into_iter()
        .find_map(|suffix| {
            let metric = metrics.get(name.strip_suffix(suffix)?)?;
            (metric.kind == "histogram").then_some(metric)
        });
    let itself = metrics.get(name).filter(|it| it.kind != "histogram");
    let metric = itself.or(of_histogram);
    let mut known = metric
        .ok_or_else(|| format!("no metric {name}"))?
        .labels
        .clone();
    // Prometheus' own.
    known.extend(["instance".to_owned(), "job".to_owned()]);
    if name.ends_with("_bucket") {
        known.insert("le".to_owned());
    }
    let asked: Vec<String> = matchers.matchers.iter().map(|it| it.name.clone()).collect();
    all_known(&asked, &known).map_err(|error| format!("{name}: {error}"))?;
    Ok(known)
}

fn all_known(asked: &[String], known: &Labels) -> Result<(), String> {
    match asked.iter().find(|label| !known.contains(*label)) {
        Some(label) => Err(format!("no label {label} among {known:?}")),
        None => Ok(()),
    }
}

fn check(text: &str, metrics: &Metrics) -> Result<Labels, String> {
    let text = text.replace("$__rate_interval", "5m");
    let expr = parser::parse(&text).map_err(|error| format!("{text}: {error}"))?;
    labels(&expr, metrics).map_err(|error| format!("{text}: {error}"))
}

/// All texts of a key, wherever it is.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get(key).and_then(Value::as_str));
            map.values().for_each(|value| texts(value, key, found));
        }
        Value::Array(list) => list.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_and_dashboard_ask_only_for_what_is_told() {
    let (system, worker) = busy().await;
    let metrics = all(&system, &worker).await;

    // That the check finds what it is for.
    for wrong in [
        "taskq_no_such_metric",
        "sum by (queue) (taskq_workers)",
        "taskq_queue_pending{task=\"x\"}",
        "taskq_task_wait_seconds",
        "taskq_queue_pending and on (task) taskq_queue_workers",
    ] {
        assert!(check(wrong, &metrics).is_err(), "{wrong}");
    }

    let alerts: Value = serde_saphyr::from_str(ALERTS).unwrap();
    let mut rules = Vec::new();
    texts(&alerts, "expr", &mut rules);
    assert!(rules.len() >= 12, "{}", rules.len());
    for rule in rules {
        check(rule, &metrics).unwrap();
    }
    // Whoever is woken finds what to do.
    let mut runbooks = Vec::new();
    texts(&alerts, "runbook", &mut runbooks);
    for runbook in runbooks {
        let (page, anchor) = runbook.split_once('#').unwrap();
        assert_eq!(page, "docs/observability.md");
        let anchors = GUIDE.lines().filter_map(|line| line.strip_prefix("### "));
        let mut anchors = anchors.map(|title| title.to_lowercase().replace(' ', "-"));
        assert!(anchors.any(|known| known == anchor), "{anchor}");
    }

    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut panels = Vec::new();
    texts(&dashboard, "expr", &mut panels);
    assert!(panels.len() >= 30, "{}", panels.len());
    for panel in panels {
        check(panel, &metrics).unwrap();
    }
    // What a series is called is by labels that it has.
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let known = check(target["expr"].as_str().unwrap(), &metrics).unwrap();
            let legend = target["legendFormat"].as_str().unwrap();
            let asked = legend
                .split("{{")
                .skip(1)
                .filter_map(|it| it.split_once("}}"));
            for (label, _) in asked {
                assert!(known.contains(label), "{label} of {target}");
            }
        }
    }
    let mut variables = Vec::new();
    texts(&dashboard["templating"], "definition", &mut variables);
    for variable in variables {
        let inner = variable.strip_prefix("label_values(").unwrap();
        let (metric, label) = inner.trim_end_matches(')').split_once(", ").unwrap();
        assert!(metrics[metric].labels.contains(label), "{variable}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_wrong() {
    // Debian has it in `prometheus`.
    let found = Command::new("promtool").arg("--version").output();
    if found.is_err() {
        eprintln!("skipped: promtool is not installed");
        return;
    }
    let (system, worker) = busy().await;
    for page in [system.get("/metrics").await.text, worker.page().await] {
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        promtool
            .stdin
            .take()
            .unwrap()
            .write_all(page.as_bytes())
            .unwrap();
        let checked = promtool.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.success() && said.is_empty(), "{said}");
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus");
    for args in [
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts_test.yaml"],
    ] {
        let tested = Command::new("promtool")
            .args(args)
            .current_dir(folder)
            .output();
        let tested = tested.unwrap();
        assert!(tested.status.success(), "{tested:?}");
    }
}
