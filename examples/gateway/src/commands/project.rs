use clap::Subcommand;
use llm_gate::identity::ProjectId;
use llm_gate::store::{Author, NewProject, Project, ProjectOutcome, ProjectRole, Store};

use super::error::{CommandError, say};
use super::user;
use crate::config::Loaded;
use crate::{accounts, names};

/// How many lines are read at once.
const PAGE: u32 = 100;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List projects, or those of a user with its role
    List {
        /// A user name, an e-mail address or an id
        user: Option<String>,
        /// Those that are archived, too
        #[arg(long, conflicts_with = "user")]
        archived: bool,
    },
    /// Make a project
    Create {
        /// Who owns it: a user name, an e-mail address or an id
        owner: String,
        /// What it is called; one is made up unless said
        #[arg(long, value_parser = accounts::key_name)]
        name: Option<String>,
    },
    /// Give a project another name
    Rename {
        /// The project's id
        project: ProjectId,
        /// What it is called from now on
        #[arg(value_parser = accounts::key_name)]
        name: String,
    },
    /// Close a project for good: its keys are revoked, its invites withdrawn; what was used stays in the books
    Archive {
        /// The project's id
        project: ProjectId,
    },
    /// Manage who belongs to a project
    #[command(subcommand)]
    Members(Members),
}

#[derive(Debug, Subcommand)]
pub(super) enum Members {
    /// List the members of a project, services too
    List {
        /// The project's id
        project: ProjectId,
    },
    /// Make a user a member, or give a member another role
    Set {
        /// The project's id
        project: ProjectId,
        /// A user name, an e-mail address or an id
        user: String,
        /// owner, admin or member
        #[arg(long, default_value = "member", value_parser = role)]
        role: ProjectRole,
    },
    /// Put a member out, and revoke its keys there; a service is deleted
    Remove {
        /// The project's id
        project: ProjectId,
        /// A user name, an e-mail address or an id
        user: String,
    },
}

fn role(text: &str) -> Result<ProjectRole, &'static str> {
    ProjectRole::from_word(text).ok_or("must be owner, admin or member")
}

pub(super) async fn run(loaded: Loaded, command: Command) -> Result<(), CommandError> {
    let store = user::open(&loaded.config).await?;
    let store = &*store;
    match command {
        Command::List { user, archived } => match user {
            Some(user) => list_of(store, &user).await,
            None => list(store, archived).await,
        },
        Command::Create { owner, name } => create(store, &owner, name).await,
        Command::Rename { project, name } => {
            let renamed = store.rename_project(project, name, Author::now()).await?;
            let project = outcome(renamed)?;
            say!("{}: {}", project.id, project.name)
        }
        Command::Archive { project } => {
            let archived = store.archive_project(project, Author::now()).await?;
            say!("archived {}", outcome(archived)?.id)
        }
        Command::Members(Members::List { project }) => members(store, project).await,
        Command::Members(Members::Set {
            project,
            user,
            role,
        }) => {
            let user = user::find(store, &user).await?;
            let set = store.set_member(project, user.id, role, Author::now());
            let member = outcome(set.await?)?;
            say!("{}: {}", user::called(&member.user), member.role)
        }
        Command::Members(Members::Remove { project, user }) => {
            let user = user::find(store, &user).await?;
            let removed = store.remove_member(project, user.id, Author::now());
            let member = outcome(removed.await?)?;
            say!("removed {}", user::called(&member.user))
        }
    }
}

fn outcome<T>(outcome: ProjectOutcome<T>) -> Result<T, CommandError> {
    Err(CommandError::failed(match outcome {
        ProjectOutcome::Done(value) => return Ok(value),
        ProjectOutcome::LastOwner => "a project needs an owner: make another one first",
        ProjectOutcome::Personal => {
            "a personal project lives as long as its user, who always owns it"
        }
        _ => "there is no such project, or the user has no place in it",
    }))
}

async fn list(store: &dyn Store, archived: bool) -> Result<(), CommandError> {
    say!("ID\tNAME\tSTATE")?;
    let mut after = None;
    loop {
        let projects = store.projects(after, PAGE, archived).await?;
        for Project {
            id,
            name,
            archived_at,
            ..
        } in &projects
        {
            let state = archived_at.map_or("active", |_| "archived");
            say!("{id}\t{name}\t{state}")?;
        }
        match projects.last() {
            Some(last) if projects.len() == PAGE as usize => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

async fn list_of(store: &dyn Store, user: &str) -> Result<(), CommandError> {
    let user = user::find(store, user).await?;
    say!("ID\tNAME\tROLE")?;
    for membership in store.projects_of(user.id).await? {
        let Project { id, name, .. } = membership.project;
        say!("{id}\t{name}\t{}", membership.role)?;
    }
    Ok(())
}

async fn create(store: &dyn Store, owner: &str, name: Option<String>) -> Result<(), CommandError> {
    let owner = user::find(store, owner).await?;
    let new = NewProject {
        id: ProjectId::new(),
        name: name.unwrap_or_else(names::project),
        owner: owner.id,
        author: Author::now(),
    };
    let made = store.create_project(new).await?;
    let project = made.ok_or_else(|| CommandError::failed("only a person can own a project"))?;
    say!(
        "created {} ({}) for {}",
        project.name,
        project.id,
        user::called(&owner)
    )
}

async fn members(store: &dyn Store, project: ProjectId) -> Result<(), CommandError> {
    let known = store.project(project).await?;
    if known.is_none_or(|project| project.archived_at.is_some()) {
        return Err(CommandError::failed(format!(
            "there is no project {project}"
        )));
    }
    say!("ID\tNAME\tKIND\tROLE")?;
    let mut after = None;
    loop {
        let members = store.members(project, after, PAGE).await?;
        for member in &members {
            let (user, kind) = (&member.user, member.user.kind.as_str());
            say!(
                "{}\t{}\t{kind}\t{}",
                user.id,
                user::called(user),
                member.role
            )?;
        }
        match members.last() {
            Some(last) if members.len() == PAGE as usize => after = Some(last.user.id),
            _ => return Ok(()),
        }
    }
}
