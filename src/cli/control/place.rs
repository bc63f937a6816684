//! Where the control plane is and who one is to it, from flags, environment and context.
//!
//! A flag goes over a variable, which goes over the context, which goes over the default. What
//! proves who one is (a token, or a certificate with its key) is taken from one of them as a whole:
//! a certificate given as a flag must not meet a token of the context.

use std::path::absolute;

use clap::Args;

use super::error::Error;
use super::file;
use crate::resources::Origin;

/// What can be said of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    ControlPlane,
    TrustAnchors,
    TrustDomain,
    TokenFile,
    Certificate,
    Key,
}

/// How a field is written in each source.
pub(super) struct Row {
    pub(super) field: Field,
    /// In the context file.
    pub(super) name: &'static str,
    pub(super) flag: &'static str,
    pub(super) variable: Option<&'static str>,
    pub(super) is_path: bool,
    /// With its verb, for a sentence that says it is missing.
    pub(super) what: &'static str,
}

/// In the order of [`Field`].
pub(super) const ROWS: [Row; 6] = [
    Row {
        field: Field::ControlPlane,
        name: "controlPlane",
        flag: "--control-plane",
        variable: Some("OUTRIGGER_CONTROL_PLANE"),
        is_path: false,
        what: "control plane is",
    },
    Row {
        field: Field::TrustAnchors,
        name: "trustAnchors",
        flag: "--trust-anchors",
        variable: Some("OUTRIGGER_TRUST_ANCHORS"),
        is_path: true,
        what: "trust anchors (the roots of the mesh, to know the control plane by) are",
    },
    Row {
        field: Field::TrustDomain,
        name: "trustDomain",
        flag: "--trust-domain",
        variable: Some("OUTRIGGER_TRUST_DOMAIN"),
        is_path: false,
        what: "trust domain is",
    },
    Row {
        field: Field::TokenFile,
        name: "tokenFile",
        flag: "--token-file",
        variable: Some("OUTRIGGER_TOKEN_FILE"),
        is_path: true,
        what: "token (`operator.token` in the control plane's data folder) is",
    },
    Row {
        field: Field::Certificate,
        name: "certificate",
        flag: "--certificate",
        variable: None,
        is_path: true,
        what: "certificate is",
    },
    Row {
        field: Field::Key,
        name: "key",
        flag: "--key",
        variable: None,
        is_path: true,
        what: "key of the certificate is",
    },
];

impl Field {
    pub(super) fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Where to say it.
    pub(super) fn cure(self) -> String {
        let Row { name, flag, variable, .. } = self.row();
        let variable = variable.map(|name| format!(", {name}")).unwrap_or_default();
        format!("give {flag}{variable} or `{name}` of a context (outrigger context set)")
    }
}

/// A value, and where it was said.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) at: Origin,
}

/// What one source says, or all of them together; in the order of [`Field`].
#[derive(Clone, Debug, Default)]
pub(super) struct Place([Option<Said>; ROWS.len()]);

/// They go together.
const CREDENTIALS: [Field; 3] = [Field::TokenFile, Field::Certificate, Field::Key];

impl Place {
    pub(super) fn said(&self, field: Field) -> Option<&Said> {
        self.0[field as usize].as_ref()
    }

    pub(super) fn say(&mut self, field: Field, said: Option<Said>) {
        self.0[field as usize] = said;
    }

    /// Only the texts, by the names of the context file.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let text = |row: &Row| self.said(row.field).map(|said| (row.name, said.text.as_str()));
        ROWS.iter().filter_map(text)
    }

    fn has_credentials(&self) -> bool {
        CREDENTIALS.iter().any(|field| self.said(*field).is_some())
    }

    /// This one, and of `lower` what this one doesn't say.
    pub(super) fn over(mut self, lower: Place) -> Place {
        let mine = self.has_credentials();
        for (row, below) in ROWS.iter().zip(lower.0) {
            let kept = mine && CREDENTIALS.contains(&row.field);
            if self.said(row.field).is_none() && !kept {
                self.say(row.field, below);
            }
        }
        self
    }

    /// With paths that mean the same wherever one stands.
    pub(super) fn rooted(mut self) -> Place {
        for row in ROWS.iter().filter(|row| row.is_path) {
            if let Some(said) = &mut self.0[row.field as usize]
                && let Ok(path) = absolute(&said.text)
            {
                said.text = path.to_string_lossy().into_owned();
            }
        }
        self
    }

    /// As if said by flags.
    #[cfg(test)]
    pub(super) fn with(fields: &[(Field, &str)]) -> Place {
        let mut place = Place::default();
        for (field, text) in fields {
            let at = Origin::Flag(field.row().flag.into());
            place.say(*field, Some(Said { text: (*text).into(), at }));
        }
        place
    }

    /// What the environment says; an empty variable says nothing.
    pub(super) fn of_environment(variable: &dyn Fn(&str) -> Option<String>) -> Place {
        let mut place = Place::default();
        for (row, name) in ROWS.iter().filter_map(|row| Some((row, row.variable?))) {
            let text = variable(name).filter(|text| !text.is_empty());
            let at = Origin::Environment(name.into());
            place.say(row.field, text.map(|text| Said { text, at }));
        }
        place
    }
}

/// What can be said of a place on the command line.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Flags {
    /// Where the control plane is (default 127.0.0.1:15010)
    #[arg(long, value_name = "HOST:PORT")]
    control_plane: Option<String>,
    /// The roots of the mesh, in PEM, to know the control plane by
    #[arg(long, value_name = "FILE")]
    trust_anchors: Option<String>,
    /// The trust domain of the mesh (default cluster.local)
    #[arg(long, value_name = "NAME")]
    trust_domain: Option<String>,
    /// Holds an operator's token
    #[arg(long, value_name = "FILE", conflicts_with_all = ["certificate", "key"])]
    token_file: Option<String>,
    /// The certificate of an operator, in place of the token
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<String>,
    /// The key of the certificate
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<String>,
}

impl Flags {
    pub(super) fn place(&self) -> Place {
        let texts = [
            &self.control_plane,
            &self.trust_anchors,
            &self.trust_domain,
            &self.token_file,
            &self.certificate,
            &self.key,
        ];
        let mut place = Place::default();
        for (row, text) in ROWS.iter().zip(texts) {
            let at = Origin::Flag(row.flag.into());
            place.say(row.field, text.clone().map(|text| Said { text, at }));
        }
        place
    }
}

/// Which control plane, for every command that asks one.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Control plane")]
pub(in crate::cli) struct Connection {
    #[command(flatten)]
    flags: Flags,
    /// The context that says what no flag and no variable says
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl Connection {
    /// All that is said of it, by whichever source comes first.
    ///
    /// # Errors
    /// When the context is not there, or its file is faulty.
    pub(super) fn place(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Place, Error> {
        let at = Origin::Flag("--context".into());
        let named = self.context.clone().map(|text| Said { text, at });
        let context = file::entry_in_use(named, variable)?;
        let context = context.map(|entry| entry.place).unwrap_or_default();
        Ok(self.flags.place().over(Place::of_environment(variable)).over(context))
    }
}

/// A variable of this process.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|text| text.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::Parser;

    use super::*;
    use crate::config;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        connection: Connection,
    }

    const CONTEXTS: &str = "
current: token
contexts:
  - {name: token, controlPlane: 'c:1', trustAnchors: /c/ca, trustDomain: c, tokenFile: /c/token}
  - {name: certificate, certificate: /c/crt, key: /c/key}
";

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    /// What is said in the end, with the context file of above.
    fn said(line: &str, variables: Pairs<'_>) -> Result<Vec<(&'static str, String)>, String> {
        let folder = super::super::tests::Folder::new();
        fs::write(folder.path("context.yaml"), CONTEXTS).expect("written");
        let file = folder.path("context.yaml").display().to_string();
        let variable = |name: &str| match name {
            "OUTRIGGER_CONTEXT_FILE" => Some(file.clone()),
            _ => variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned()),
        };
        let line = std::iter::once("outrigger").chain(line.split_whitespace());
        let alone = Alone::try_parse_from(line).map_err(|error| error.to_string())?;
        let place = alone.connection.place(&variable).map_err(|error| error.to_string())?;
        Ok(place.texts().map(|(name, text)| (name, text.to_owned())).collect())
    }

    #[test]
    fn flags_go_over_variables_over_the_context() {
        let variables = [
            ("OUTRIGGER_CONTROL_PLANE", "v:1"),
            ("OUTRIGGER_TRUST_ANCHORS", "/v/ca"),
            ("OUTRIGGER_TRUST_DOMAIN", ""),
        ];
        let rows: &[(&str, Pairs<'_>, &str)] = &[
            ("", &[], "c:1 /c/ca c /c/token"),
            ("", &variables, "v:1 /v/ca c /c/token"),
            ("--control-plane f:1", &variables, "f:1 /v/ca c /c/token"),
            ("--token-file /f/token", &[], "c:1 /c/ca c /f/token"),
            ("--certificate /f/crt --key /f/key", &[], "c:1 /c/ca c /f/crt /f/key"),
            ("--context certificate", &[("OUTRIGGER_TOKEN_FILE", "/v/token")], "/v/token"),
            ("--context certificate", &[], "/c/crt /c/key"),
            ("", &[("OUTRIGGER_CONTEXT", "certificate")], "/c/crt /c/key"),
            ("--context token", &[("OUTRIGGER_CONTEXT", "certificate")], "c:1 /c/ca c /c/token"),
        ];
        for (line, variables, expected) in rows {
            let texts: Vec<String> =
                said(line, variables).expect("legal").into_iter().map(|(_, text)| text).collect();
            assert_eq!(texts.join(" "), *expected, "{line} {variables:?}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let rows: &[(&str, Pairs<'_>, &str)] = &[
            ("--certificate /f/crt", &[], "--key"),
            ("--certificate /c --key /k --token-file /t", &[], "cannot be used with"),
            ("--context nowhere", &[], "--context: there is no context \"nowhere\""),
            ("", &[("OUTRIGGER_CONTEXT", "x")], "environment OUTRIGGER_CONTEXT: there is no"),
        ];
        for (line, variables, part) in rows {
            let message = said(line, variables).expect_err("illegal");
            assert!(message.contains(part), "{line}: {message}");
        }
    }

    #[test]
    fn rows_are_in_the_order_of_fields_and_sidecars_leave_our_variables_alone() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(row.field as usize, index, "{}", row.name);
            let shared = |name: &str| name == "OUTRIGGER_TRUST_DOMAIN";
            assert!(
                row.variable.is_none_or(|name| shared(name) || config::OF_PEOPLE.contains(&name)),
                "{}",
                row.name
            );
        }
    }
}
