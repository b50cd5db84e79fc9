use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::settings::Kind;
use super::{Config, ConfigError, SETTINGS, Setting};

const DEFAULT_FILE: &str = "llm-gate.toml";

/// The variables of a process, or those a test makes up.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads the variables of this process. Those that are not UTF-8 are none of ours.
    #[must_use]
    pub fn of_process() -> Self {
        Self::of(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// Takes these variables.
    pub fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(variables.into_iter().collect())
    }

    fn find(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file. `llm-gate.toml` in the working folder, if there is one, unless named.
    pub file: Option<PathBuf>,
    /// The variables.
    pub environment: Environment,
    /// Values from the command line, by the names of their settings.
    pub flags: Vec<(&'static str, Value)>,
}

/// What was read, and from where.
#[derive(Debug)]
pub struct Loaded {
    /// The settings in force.
    pub config: Config,
    figment: Figment,
}

impl Sources {
    /// Reads and checks the configuration.
    ///
    /// # Errors
    ///
    /// Refuses unknown fields, values of the wrong type, and values that are not safe.
    pub fn load(self) -> Result<Loaded, ConfigError> {
        let mut figment = Figment::new();
        match &self.file {
            Some(file) if !file.is_file() => {
                return Err(ConfigError::Missing(file.display().to_string()));
            }
            Some(file) => figment = figment.merge(Toml::file_exact(file)),
            None if Path::new(DEFAULT_FILE).is_file() => {
                figment = figment.merge(Toml::file_exact(DEFAULT_FILE));
            }
            None => {}
        }
        let figment = figment
            .merge(Variables::read(&self.environment)?)
            .merge(Flags(self.flags));
        let config: Config = figment.extract()?;
        config.check()?;
        Ok(Loaded { config, figment })
    }
}

impl Loaded {
    /// Lists the files that secrets stand in, each once.
    #[must_use]
    pub fn files_with_secrets(&self) -> BTreeSet<PathBuf> {
        let listed = SETTINGS.iter().filter(|one| one.is_secret(&self.config));
        let listed = listed.map(|setting| setting.name.to_owned());
        // Of any name, so no variable sets them.
        let providers = self.config.oauth.iter();
        let providers = providers.filter(|(_, one)| one.client_secret.is_some());
        let providers = providers.map(|(name, _)| format!("oauth.{name}.client_secret"));
        let sources = listed.chain(providers).filter_map(|name| {
            let source = self.figment.find_metadata(&name)?.source.as_ref()?;
            source.file_path().map(Path::to_path_buf)
        });
        sources.collect()
    }

    /// Says where the value of `setting` comes from.
    #[must_use]
    pub fn origin(&self, setting: &Setting) -> String {
        let Some(metadata) = self.figment.find_metadata(setting.name) else {
            return "default".to_owned();
        };
        match (&*metadata.name, &metadata.source) {
            (Variables::NAME, _) => format!("environment ({})", setting.variable()),
            (Flags::NAME, _) => "flag".to_owned(),
            (_, Some(source)) => source.to_string(),
            (name, None) => name.to_owned(),
        }
    }
}

/// The environment as a source of settings. Each variable is read as its setting needs it: a secret of
/// digits only stays a text.
struct Variables(Dict);

impl Variables {
    const NAME: &'static str = "environment";

    fn read(environment: &Environment) -> Result<Self, ConfigError> {
        let mut dict = Dict::new();
        for setting in SETTINGS {
            let prefixed = setting.prefixed();
            let kept = setting.kept.and_then(|name| environment.find(name));
            let text = match (kept, environment.find(&prefixed)) {
                (Some(kept), Some(other)) if kept != other => {
                    return Err(ConfigError::Variable {
                        name: prefixed,
                        reason: "is set beside its short name, to another value",
                    });
                }
                (Some(text), _) | (None, Some(text)) => text,
                (None, None) => continue,
            };
            insert(&mut dict, setting.name, parse(setting, text)?);
        }
        let unknown = environment.0.keys().find(|name| {
            name.starts_with("LLM_GATE_")
                && !SETTINGS.iter().any(|setting| setting.prefixed() == **name)
        });
        match unknown {
            Some(name) => Err(ConfigError::Variable {
                name: name.clone(),
                reason: "no such setting",
            }),
            None => Ok(Self(dict)),
        }
    }
}

fn parse(setting: &Setting, text: &str) -> Result<Value, ConfigError> {
    Ok(match setting.kind {
        Kind::Text => text.into(),
        Kind::Number => text
            .parse::<u64>()
            .map_err(|_| ConfigError::Variable {
                name: setting.variable(),
                reason: "is not a whole number",
            })?
            .into(),
        Kind::List => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(Value::from)
            .collect::<Vec<_>>()
            .into(),
    })
}

/// Puts `value` under its section, which may be one of another.
fn insert(dict: &mut Dict, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            dict.insert(name.to_owned(), value);
        }
        Some((section, field)) => {
            let entry = dict
                .entry(section.to_owned())
                .or_insert_with(|| Dict::new().into());
            if let Value::Dict(_, inner) = entry {
                insert(inner, field, value);
            }
        }
    }
}

impl Provider for Variables {
    fn metadata(&self) -> Metadata {
        Metadata::named(Self::NAME)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.0.clone()))
    }
}

/// The command line as a source of settings.
struct Flags(Vec<(&'static str, Value)>);

impl Flags {
    const NAME: &'static str = "flags";
}

impl Provider for Flags {
    fn metadata(&self) -> Metadata {
        Metadata::named(Self::NAME)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut dict = Dict::new();
        for (name, value) in &self.0 {
            insert(&mut dict, name, value.clone());
        }
        Ok(Profile::Default.collect(dict))
    }
}

#[cfg(test)]
mod tests {
    use llm_gate::call::Model;

    use super::*;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const SECRET: &str = "00112233445566778899001122334455";

    fn load(file: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("gate.toml");
        std::fs::write(&path, file).expect("a file");
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Sources {
            file: Some(path),
            environment: Environment::of(variables),
            flags: Vec::new(),
        }
        .load()
        .map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let loaded = load("server.port = 1", &[("PORT", "2")]).expect("good settings");
        assert_eq!(loaded.config.server.port, 2);
        let port = SETTINGS
            .iter()
            .find(|s| s.name == "server.port")
            .expect("listed");
        assert_eq!(loaded.origin(port), "environment (PORT)");
    }

    #[test]
    fn a_secret_of_digits_stays_a_text() {
        let loaded = load("", &[("JWT_SECRET_KEY", SECRET)]).expect("good settings");
        let secret = loaded.config.auth.jwt_secret.expect("set");
        assert_eq!(secret.expose(), SECRET, "leading zeros are kept");
    }

    #[test]
    fn every_setting_can_be_set_by_its_variable() {
        for setting in SETTINGS {
            let value = match setting.kind {
                Kind::Number => "24",
                Kind::List if setting.name == "server.trusted_proxies" => "10.0.0.0/8, ::1",
                Kind::List => "https://a.example, https://b.example",
                Kind::Text => match setting.name {
                    "registration" => "closed",
                    "web_url" | "upstream.url" => "https://gate.example",
                    "server.host" | "metrics.host" => "::1",
                    "mail.url" => "smtps://mail.example",
                    "mail.from" => "Gate <gate@mail.example>",
                    "auth.jwt_algorithm" => "HS256",
                    "auth.api_token_hash" => HASH,
                    "log.format" => "json",
                    "log.rotation" => "hourly",
                    "server.proxy_header" => "forwarded",
                    name if name.starts_with("rate_limits.") => "5/second",
                    _ => SECRET,
                },
            };
            let file = "auth.refresh_idle_hours = 1\npasswords.iterations = 24\n\
                        ledger.heartbeat_seconds = 1\nledger.lease_seconds = 25\n\
                        oauth.google = { client_id = \"i\", client_secret = \"s\" }\n\
                        oauth.github = { client_id = \"i\", client_secret = \"s\" }";
            let value = if setting.name == "passwords.memory_kib" {
                "20000"
            } else {
                value
            };
            let loaded = load(file, &[(&setting.prefixed(), value)]);
            assert!(loaded.is_ok(), "{}: {:?}", setting.name, loaded.err());
        }
    }

    #[test]
    fn models_are_refined_by_name() {
        let text = "[models.\"a/b\"]\ncontext_length = 4096\noutput_cap = 7";
        let config = load(text, &[]).expect("good settings").config;
        let refined = config.models["a/b"].refine(Model::new("a/b").context_length(9));
        assert_eq!(
            refined,
            Model::new("a/b").context_length(4096).output_cap(7)
        );
        let error = load("[models.m]\nbytes_factor = 0", &[]).expect_err("would bound nothing");
        assert!(error.contains("at least 1"), "{error}");
        assert!(load("[models.m]\nlength = 1", &[]).is_err(), "misspelt");
    }

    #[test]
    fn issuers_are_trusted_by_name() {
        let text = "[auth.issuers.\"https://login.example/a.b\"]\n\
                    jwks_url = \"https://login.example/keys\"\n\
                    audience = \"llm-gate\"\nalgorithms = [\"RS256\"]\n";
        let config = load(text, &[]).expect("good settings").config;
        assert_eq!(
            config.auth.issuers["https://login.example/a.b"].audience,
            "llm-gate"
        );
        for wrong in [
            text.replace("audience", "audiance"),
            text.replace("audience = \"llm-gate\"\n", ""),
            format!("{text}accounts = \"email\""),
            text.replace("https://login.example/keys", "http://login.example/keys"),
        ] {
            let error = load(&wrong, &[]).expect_err("not to be trusted");
            assert!(error.contains("auth.issuers"), "{error}");
        }
    }

    #[test]
    fn providers_have_their_names_and_their_variables() {
        let both = [("GOOGLE_CLIENT_ID", "007"), ("GOOGLE_CLIENT_SECRET", "42")];
        let loaded = load("", &both).expect("good settings");
        let providers = loaded.config.oauth_providers().expect("good settings");
        assert_eq!(providers.len(), 1, "nobody else is asked");
        assert_eq!(
            providers[0].client_id, "007",
            "a number of digits is a text"
        );
        assert_eq!(providers[0].issuer, "https://accounts.google.com");
        let secret = SETTINGS
            .iter()
            .find(|setting| setting.name == "oauth.google.client_secret")
            .expect("listed");
        assert_eq!(secret.show(&loaded.config), "[redacted]");
        assert_eq!(loaded.origin(secret), "environment (GOOGLE_CLIENT_SECRET)");

        let text = "[oauth.work]\nclient_id = \"i\"\nissuer = \"https://login.example/a\"\n\
                    client_secret = \"hunter2\"\n";
        let loaded = load(text, &both).expect("good settings");
        let providers = loaded.config.oauth_providers().expect("good settings");
        let names: Vec<&str> = providers.iter().map(|one| &*one.name).collect();
        assert_eq!(names, ["google", "work"]);
        for wrong in [
            text.replace("issuer", "isuer"),
            text.replace("client_secret", "#"),
            text.replace("\"hunter2\"", "12345678"),
            format!("{text}kind = \"saml\""),
            format!("{text}authorize_url = \"https://login.example\""),
        ] {
            let error = load(&wrong, &[]).expect_err("not to be trusted");
            assert!(error.contains("oauth"), "{error}");
            assert!(!error.contains("hunter2") && !error.contains("12345678"));
        }
        let error = load("", &both[..1]).expect_err("half of it");
        assert!(error.contains("GOOGLE_CLIENT_SECRET"), "{error}");
    }

    #[test]
    fn unknown_fields_are_refused() {
        let error = load("[server]\nprot = 1", &[]).expect_err("misspelt");
        assert!(error.contains("prot"), "{error}");
        let error = load("", &[("LLM_GATE_SERVER__PROT", "1")]).expect_err("misspelt");
        assert!(error.contains("LLM_GATE_SERVER__PROT"), "{error}");
    }

    #[test]
    fn an_error_names_the_setting_and_what_it_takes() {
        for (file, variable, words) in [
            ("", ("PORT", "99999"), "server.port (PORT): must be a whole"),
            (
                "",
                ("LLM_GATE_REGISTRATION", "maybe"),
                "registration (LLM_GATE_REGISTRATION): must be open, invite or closed",
            ),
            (
                "rate_limits.per_address = \"100\"",
                ("", ""),
                "rate_limits.per_address (LLM_GATE_RATE_LIMITS__PER_ADDRESS): must be off, or a rate",
            ),
            (
                "",
                ("LLM_GATE_SERVER__TRUSTED_PROXIES", "::1, 0.0.0.0/0"),
                "server.trusted_proxies.1: /0 would trust everybody",
            ),
            (
                "log.format = 5",
                ("", ""),
                "log.format (LLM_GATE_LOG__FORMAT):",
            ),
            (
                "",
                ("LLM_GATE_LOG__FILTER", "=="),
                "log.filter (LLM_GATE_LOG__FILTER):",
            ),
            (
                "server.prot = 1",
                ("", ""),
                "server.prot: no such setting; there are host",
            ),
        ] {
            let error = load(file, &[variable]).expect_err("wrong");
            assert!(error.starts_with(words), "{error}");
        }
    }

    #[test]
    fn a_variable_set_twice_must_agree() {
        let both = |other| load("", &[("PORT", "1"), ("LLM_GATE_SERVER__PORT", other)]);
        assert!(both("1").is_ok());
        assert!(both("2").is_err());
    }

    #[test]
    fn a_secret_is_not_repeated_in_errors() {
        let error = load("auth.jwt_secret = 12345678", &[]).expect_err("a number");
        assert!(!error.contains("12345678"), "{error}");
        for file in [
            "auth.jwt_secret = \"hunter2",
            "auth.jwt_secret = hunter2",
            "auth = \"hunter2\"",
            "[auth]\njwt_secret = \"hunter2\"\njwt_secret = \"hunter2\"",
        ] {
            let error = load(file, &[]).expect_err("malformed");
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("gate.toml"), "says where: {error}");
        }
        let error = load("", &[("JWT_SECRET_KEY", "hunter2")]).expect_err("too short");
        assert!(error.contains("32 bytes"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_file_that_was_named_must_exist() {
        let sources = Sources {
            file: Some(PathBuf::from("/nonexistent/gate.toml")),
            ..Sources::default()
        };
        assert!(matches!(sources.load(), Err(ConfigError::Missing(_))));
    }
}
