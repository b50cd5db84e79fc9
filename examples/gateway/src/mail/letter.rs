use std::fmt;

use crate::config::Secret;

/// A letter to one user. Its text holds a secret, so it is not printed.
pub struct Letter {
    to: String,
    subject: &'static str,
    text: Secret,
}

impl Letter {
    /// Asks somebody to confirm an address.
    #[must_use]
    pub fn verify_email(web_url: &str, to: &str, token: &str) -> Self {
        let link = link(web_url, "verify-email", token);
        Self::new(
            to,
            "Confirm your e-mail address",
            format!(
                "This address was given for an account at {web_url}.\n\n\
                 To confirm that it is yours, open this page within a day, and log in:\n\n{link}\n\n\
                 If you have not made the account, do nothing."
            ),
        )
    }

    /// Lets somebody choose a new password.
    #[must_use]
    pub fn reset_password(web_url: &str, to: &str, token: &str) -> Self {
        let link = reset_link(web_url, token);
        Self::new(
            to,
            "Choose a new password",
            format!(
                "A new password was asked for the account with this address at {web_url}.\n\n\
                 To choose one, open this page within an hour:\n\n{link}\n\n\
                 If you have not asked for it, do nothing: the old password stays as it is."
            ),
        )
    }

    /// Invites somebody, to the projects that are named.
    #[must_use]
    pub fn invite(web_url: &str, to: &str, projects: &[&str], token: &str) -> Self {
        let link = link(web_url, "invite", token);
        let place = match projects {
            [] => format!("to {web_url}"),
            [project] => format!("to the project \"{project}\" at {web_url}"),
            [first @ .., last] => {
                let first = first.join("\", \"");
                format!("to the projects \"{first}\" and \"{last}\" at {web_url}")
            }
        };
        Self::new(
            to,
            "You are invited",
            format!(
                "You are invited {place}.\n\nTo accept, open this page:\n\n{link}\n\nIf you do not want to, do nothing."
            ),
        )
    }

    /// Tells somebody that the password was changed.
    #[must_use]
    pub fn password_changed(web_url: &str, to: &str) -> Self {
        Self::new(
            to,
            "Your password was changed",
            format!(
                "The password of the account with this address at {web_url} was changed, and all other sessions were ended.\n\n\
                 If that was not you, ask for a new password at once, and tell your administrator."
            ),
        )
    }

    /// Tells somebody at the address so far that the account has another one.
    #[must_use]
    pub fn email_changed(web_url: &str, to: &str) -> Self {
        Self::new(
            to,
            "Your e-mail address was changed",
            format!(
                "The account at {web_url} that had this address has another one now, and no letters come here any more.\n\n\
                 If that was not you, tell your administrator at once."
            ),
        )
    }

    fn new(to: &str, subject: &'static str, text: String) -> Self {
        Self {
            to: to.to_owned(),
            subject,
            text: text.into(),
        }
    }

    /// Returns the address it goes to.
    #[must_use]
    pub fn to(&self) -> &str {
        &self.to
    }

    /// Returns what it is about.
    #[must_use]
    pub const fn subject(&self) -> &'static str {
        self.subject
    }

    /// Returns what it says.
    #[must_use]
    pub fn text(&self) -> &str {
        self.text.expose()
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

/// Returns where a new password is chosen, below the address that users come to.
#[must_use]
pub fn reset_link(web_url: &str, token: &str) -> String {
    link(web_url, "reset-password", token)
}

fn link(web_url: &str, page: &str, token: &str) -> String {
    format!("{web_url}/{page}?token={token}")
}
