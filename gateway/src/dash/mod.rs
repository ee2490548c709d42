//! The dashboard: pages that are made here, whole, and are seen anew when
//! something happens.
//!
//! A page is a function from what the library and the index tell to HTML, so
//! it can be read without a script, and each view has an address. A script of
//! a few kilobytes asks for the page again when `/pulse` says that something
//! has happened, and changes what differs. Buttons are forms.

mod act;
mod address;
mod assets;
mod audit;
mod bulk;
mod chart;
mod failures;
mod feed;
mod fingerprint;
mod form;
mod frame;
mod icon;
mod login;
mod oops;
mod operations;
mod overview;
mod pools;
mod pulse;
mod query;
mod queues;
mod run;
mod schedules;
mod settings;
mod show;
mod task;
mod tasks;
mod told;
mod trends;
mod troubles;
mod types;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::http::Shared;

/// The pages, for who is known.
pub(crate) fn pages(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(overview::page))
        .route("/find", get(tasks::find))
        .route("/tasks", get(tasks::page))
        .route("/tasks/{id}", get(task::page))
        .route("/tasks/{id}/reveal", post(task::reveal))
        .route("/operations", get(operations::list))
        .route("/operations/{id}", get(operations::one))
        .route("/queues", get(queues::list))
        .route("/queues/{queue}", get(queues::one))
        .route("/types", get(types::list))
        .route("/types/{task}", get(types::one))
        .route("/failures", get(failures::page))
        .route("/workers", get(workers::list))
        .route("/workers/{worker}", get(workers::one))
        .route("/schedules", get(schedules::list))
        .route("/schedules/{name}", get(schedules::one))
        .route("/live", get(feed::live))
        .route("/audit", get(audit::page))
        .route("/settings", get(settings::page))
        .route("/do", post(act::act))
        .route("/pulse", get(pulse::beat))
        .layer(from_fn_with_state(Arc::clone(shared), oops::as_page))
}

/// What anybody may have.
pub(crate) fn open() -> Router<Arc<Shared>> {
    Router::new()
        .route("/assets/{hash}/{name}", get(assets::serve))
        .route("/login", get(login::page).post(login::form))
}
