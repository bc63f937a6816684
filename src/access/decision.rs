//! A decision: what becomes of a caller, which policy and which of its rules says so.

use super::Permit;
use super::at_port::{Named, Place};
use super::tokens::Trouble;
use crate::model::{Action, Audit, Mode, Reason, SpiffeId};

/// What becomes of a caller, and why.
#[derive(Debug)]
pub struct Decision<'p> {
    pub action: Action,
    pub why: Why<'p>,
    /// The policy that decides; `None`: none does.
    pub policy: Option<&'p Named>,
    pub mode: Mode,
    pub audit: Audit,
    /// What would have let in somebody who is denied.
    pub lacks: Option<Lack>,
}

/// What a request could have shown, and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    Token,
    Key,
}

/// What a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why<'p> {
    /// Which policies there are is not known yet.
    Untold,
    /// The caller came in plaintext, and mutual TLS is asked for.
    Plaintext,
    /// The caller is of another trust domain.
    Stranger,
    /// What is not HTTP, where rules ask for what only HTTP has.
    NotHttp,
    /// Its token or key is not right.
    Token(Trouble),
    Rule(&'p Place),
    /// No rule holds.
    Default,
}

impl Decision<'_> {
    /// Whether what rules say is done. Observing is about rules: who must prove who it is must so in
    /// any case.
    fn is_enforced(&self) -> bool {
        self.mode == Mode::Enforce
            || matches!(self.why, Why::Untold | Why::Plaintext | Why::Stranger)
    }

    /// Why the caller is refused, if it is.
    pub fn refusal(&self) -> Option<Reason> {
        if self.action == Action::Allow || !self.is_enforced() {
            return None;
        }
        Some(match self.why {
            Why::Untold => Reason::NotReady,
            Why::Plaintext => Reason::MtlsRequired,
            Why::NotHttp => Reason::BadRequest,
            Why::Token(_) => Reason::TokenInvalid,
            Why::Rule(_) | Why::Default if self.lacks.is_some() => Reason::TokenMissing,
            Why::Stranger | Why::Rule(_) | Why::Default => Reason::Denied,
        })
    }

    /// Leave to go on.
    ///
    /// # Errors
    /// Why there is none.
    pub fn permit(&self) -> Result<Permit, Reason> {
        self.refusal().map_or(Ok(Permit(())), Err)
    }

    /// As metrics, logs and audit entries have it.
    pub fn word(&self) -> &'static str {
        match (self.action, self.refusal()) {
            (Action::Allow, _) => "allow",
            (Action::Deny, Some(_)) => "deny",
            (Action::Deny, None) => "would-deny",
        }
    }

    /// Whether it is to be written down.
    pub fn is_audited(&self) -> bool {
        match self.audit {
            Audit::None => false,
            Audit::Denied => self.action == Action::Deny,
            Audit::All => true,
        }
    }

    /// The rule that decided: `allow 0`, `deny 2`; what else did, in a word.
    pub fn rule(&self) -> RuleWord {
        match self.why {
            Why::Untold => RuleWord::Text("untold"),
            Why::Plaintext => RuleWord::Text("mtls"),
            Why::Stranger => RuleWord::Text("trust-domain"),
            Why::NotHttp => RuleWord::Text("not-http"),
            Why::Token(_) => RuleWord::Text("token"),
            Why::Default => RuleWord::Text("default"),
            Why::Rule(place) => RuleWord::Rule(place.nth),
        }
    }

    /// As the access log has it, where the caller is kept out or would be: `would-deny shop/api 2`.
    pub fn note(&self) -> Option<String> {
        let policy = self.policy.map_or("-", |policy| &policy.title);
        let is_noted = self.action == Action::Deny;
        is_noted.then(|| format!("{} {policy} {}", self.word(), self.rule()))
    }

    /// What a refused caller is told. Policies are named to those of the mesh alone.
    pub fn sentence(&self, id: Option<&SpiffeId>) -> String {
        let without = match (self.why, self.lacks) {
            (Why::Token(trouble), _) => return trouble.to_string(),
            (_, Some(Lack::Token)) => " without a token",
            (_, Some(Lack::Key)) => " without an API key",
            (_, None) => "",
        };
        match id {
            None => format!("the caller may not do this{without}"),
            Some(id) => format!("{id} may not do this{without}: {self}"),
        }
    }
}

/// Why, in one sentence without a full stop.
impl std::fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let policy = self.policy.map(|policy| &*policy.title);
        let verb = match self.action {
            Action::Allow => "allows",
            Action::Deny => "denies",
        };
        match (self.why, policy) {
            (Why::Untold, _) => f.write_str("which policies there are is not known yet"),
            (Why::Plaintext, Some(policy)) => {
                write!(f, "AccessPolicy {policy} asks for mutual TLS")
            }
            (Why::Plaintext, None) => {
                f.write_str("mutual TLS is asked for unless a policy says else")
            }
            (Why::Stranger, _) => f.write_str("it is of another trust domain"),
            (Why::NotHttp, _) => f.write_str("rules of its port ask for what only HTTP has"),
            (Why::Token(trouble), _) => write!(f, "{trouble}"),
            (Why::Rule(Place { policy, nth }), _) => {
                write!(f, "rules[{nth}] of AccessPolicy {} {verb} it", policy.title)
            }
            (Why::Default, Some(policy)) => {
                write!(f, "no rule holds for it, and by AccessPolicy {policy} that {verb} it")
            }
            (Why::Default, None) => f.write_str("no rule keeps out anybody of the mesh"),
        }
    }
}

/// What decided, as audit entries have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleWord {
    /// The number of a rule in its policy, from 0.
    Rule(usize),
    Text(&'static str),
}

impl std::fmt::Display for RuleWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RuleWord::Rule(nth) => write!(f, "{nth}"),
            RuleWord::Text(word) => f.write_str(word),
        }
    }
}
