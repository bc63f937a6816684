//! What a rule does to its requests and their answers.
//!
//! Compiled from what was written: header values, lists and paths are made ready, so that a request
//! gets copies of handles. Of filters that can't be repeated (redirect, rewrite, CORS) the last one
//! counts. An edit of the header Host is a rewrite of the authority, because HTTP/2 says it in two
//! places; taking it away is not done, for there is no request without.
//! Called in this order: `cors`, `answer`, `request`, then `response` for whatever the app answers.

mod cors;
mod path;
mod redirect;
mod rewrite;

use http::request::Parts;
use http::{HeaderMap, Response, header};

use crate::model::{Filter, HeaderEdit, Mirror};
use cors::Cors;
pub use cors::CorsGrant;
use redirect::Redirect;
use rewrite::Rewrite;

/// The filters of a rule or a backend.
#[derive(Debug, Default)]
pub struct Filters {
    request: Vec<HeaderEdit>,
    response: Vec<HeaderEdit>,
    rewrite: Option<Rewrite>,
    redirect: Option<Redirect>,
    cors: Option<Cors>,
    mirrors: Vec<Mirror>,
}

impl Filters {
    pub fn compile(filters: &[Filter]) -> Self {
        let mut compiled = Self::default();
        for filter in filters {
            match filter {
                Filter::RequestHeaders(edit) => compiled.edit_request(edit),
                Filter::ResponseHeaders(edit) => compiled.response.push(edit.clone()),
                Filter::Redirect(to) => compiled.redirect = Some(Redirect::new(to)),
                Filter::Rewrite(to) => compiled.rewrite.get_or_insert_default().merge(to),
                Filter::Mirror(mirror) => compiled.mirrors.push(mirror.clone()),
                Filter::Cors(cors) => compiled.cors = Some(Cors::new(cors)),
            }
        }
        compiled
    }

    fn edit_request(&mut self, edit: &HeaderEdit) {
        let mut edit = edit.clone();
        if let Some(host) = rewrite::take_host(&mut edit) {
            self.rewrite.get_or_insert_default().host(host);
        }
        self.request.push(edit);
    }

    /// Whether they leave everything as it is.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty()
            && self.response.is_empty()
            && self.rewrite.is_none()
            && self.redirect.is_none()
            && self.cors.is_none()
            && self.mirrors.is_empty()
    }

    /// The answer that the filters give themselves, complete: a redirect, or what a CORS preflight
    /// asks for. `prefix` is the matched one's length; `scheme` the request's.
    pub fn answer(&self, parts: &Parts, prefix: usize, scheme: &str) -> Option<Response<()>> {
        if let Some(cors) = self.cors.as_ref().filter(|_| cors::is_preflight(parts)) {
            return Some(cors.preflight(&parts.headers));
        }
        let mut answer = self.redirect.as_ref()?.answer(parts, prefix, scheme);
        self.response(answer.headers_mut(), self.cors(parts).as_ref());
        Some(answer)
    }

    /// Changes the head: headers, authority, path.
    pub fn request(&self, parts: &mut Parts, prefix: usize) {
        for edit in &self.request {
            apply(edit, &mut parts.headers);
        }
        if let Some(rewrite) = &self.rewrite {
            rewrite.apply(parts, prefix);
        }
    }

    /// What the answer to a cross-origin request is to allow; asked before the request goes on.
    /// None for requests without `Origin`, or with one that is not allowed.
    pub fn cors(&self, parts: &Parts) -> Option<CorsGrant> {
        self.cors.as_ref()?.grant(&parts.headers)
    }

    /// Changes the head of an answer. `grant` is what [`Filters::cors`] said of its request.
    pub fn response(&self, headers: &mut HeaderMap, grant: Option<&CorsGrant>) {
        if let Some(cors) = &self.cors {
            cors.respond(headers, grant);
        }
        for edit in &self.response {
            apply(edit, headers);
        }
    }

    /// Services that get copies.
    pub fn mirrors(&self) -> &[Mirror] {
        &self.mirrors
    }
}

fn apply(edit: &HeaderEdit, headers: &mut HeaderMap) {
    for (name, value) in &edit.set {
        headers.insert(name, value.clone());
    }
    for (name, value) in &edit.add {
        headers.append(name, value.clone());
    }
    for name in &edit.remove {
        headers.remove(name);
    }
}

/// Makes caches tell answers apart by a header of the request.
fn vary(headers: &mut HeaderMap, by: &'static str) {
    let lists = |token: &str| crate::http::headers::lists(headers, &header::VARY, token.as_bytes());
    if !lists(by) && !lists("*") {
        headers.append(header::VARY, http::HeaderValue::from_static(by));
    }
}
