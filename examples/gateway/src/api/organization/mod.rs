//! The OpenAI Admin API under `/v1/organization`, so that the OpenAI packages administer the gate as they come.
//!
//! The organization is the platform. Its owners are the admins, its readers all others. What changes something goes
//! the way of the management routes and leaves the same events; only the shapes are others.

mod admin_keys;
mod audit;
mod buckets;
mod costs;
mod details;
mod invites;
mod keys;
mod list;
mod members;
mod names;
mod never;
mod projects;
mod rates;
mod services;
mod usage;
mod users;

use super::document::{Surface, operation};

/// The table of the routes.
pub(super) fn surface() -> Surface {
    Surface::default()
        .route(operation!(organization, users::list), &[])
        .route(operation!(organization, users::show), &[])
        .route(operation!(organization, users::change), &[])
        .route(operation!(organization, users::delete), &[])
        .route(operation!(organization, invites::list), &[])
        .route(operation!(organization, invites::create), &[])
        .route(operation!(organization, invites::show), &[])
        .route(operation!(organization, invites::delete), &[])
        .route(operation!(organization, projects::list), &[])
        .route(operation!(organization, projects::create), &[])
        .route(operation!(organization, projects::show), &[])
        .route(operation!(organization, projects::change), &[])
        .route(operation!(organization, projects::archive), &[])
        .route(operation!(organization, members::list), &[])
        .route(operation!(organization, members::create), &[])
        .route(operation!(organization, members::show), &[])
        .route(operation!(organization, members::change), &[])
        .route(operation!(organization, members::delete), &[])
        .route(operation!(organization, services::list), &[])
        .route(operation!(organization, services::create), &[])
        .route(operation!(organization, services::show), &[])
        .route(operation!(organization, services::change), &[])
        .route(operation!(organization, services::delete), &[])
        .route(operation!(organization, services::create_key), &[])
        .route(operation!(organization, keys::list), &[])
        .route(operation!(organization, keys::show), &[])
        .route(operation!(organization, keys::change), &[])
        .route(operation!(organization, keys::delete), &[])
        .route(operation!(organization, rates::list), &[])
        .route(operation!(organization, rates::change), &[])
        .route(operation!(organization, admin_keys::list), &[])
        .route(operation!(organization, admin_keys::create), &[])
        .route(operation!(organization, admin_keys::show), &[])
        .route(operation!(organization, admin_keys::delete), &[])
        .route(operation!(organization, usage::completions), &[])
        .route(operation!(organization, usage::embeddings), &[])
        .route(operation!(organization, costs::list), &[])
        .route(operation!(organization, audit::list), &[])
}
