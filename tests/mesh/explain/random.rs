//! Random routes and faults, in the words of their resources.

use std::fmt::Write as _;

/// splitmix64 (Steele, Lea, Flood 2014). A failure names its seed, and `OUTRIGGER_SEED` repeats it.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % n as u64) as usize
    }

    pub fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub fn maybe(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// Failures on purpose, for all of the requests that they are about.
pub fn fault(dice: &mut Dice, service: &str) -> String {
    let with = dice.one(&["httpStatus: 418", "grpcStatus: unavailable"]);
    let about = dice.one(&["", ", match: {headers: [{name: x-b, value: \"2\"}]}"]);
    format!(
        "---\napiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\n\
         metadata: {{name: {service}, namespace: default}}\n\
         spec: {{targetRefs: [{{kind: Service, name: {service}}}], \
         fault: {{abort: {{percent: 100, {with}}}{about}}}}}\n"
    )
}

/// A route of a service, with up to five rules.
pub fn route(dice: &mut Dice, service: &str) -> String {
    let hostnames =
        dice.one(&["", "", "", "hostnames: [h.test]", "hostnames: [\"*.test\", x.h.test]"]);
    let mut text = format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: r{}-{service}, namespace: default}}\n\
         spec:\n  parentRefs: [{{group: \"\", kind: Service, name: {service}}}]\n",
        dice.below(1_000_000)
    );
    if !hostnames.is_empty() {
        let _ = writeln!(text, "  {hostnames}");
    }
    text.push_str("  rules:\n");
    for _ in 0..1 + dice.below(5) {
        text.push_str(&rule(dice));
    }
    text
}

fn rule(dice: &mut Dice) -> String {
    let by_prefix = dice.maybe();
    let matches: Vec<String> = (0..1 + dice.below(2)).map(|_| one_match(dice, by_prefix)).collect();
    let mut text = format!("  - matches: [{}]\n", matches.join(", "));
    let path = match by_prefix && dice.maybe() {
        true => "{type: ReplacePrefixMatch, replacePrefixMatch: /new}",
        false => "{type: ReplaceFullPath, replaceFullPath: /full}",
    };
    if dice.below(6) == 0 {
        let status = dice.one(&[301, 302]);
        let hostname = dice.one(&["", ", hostname: else.where", ", scheme: https, port: 8443"]);
        let _ = writeln!(
            text,
            "    filters: [{{type: RequestRedirect, requestRedirect: {{path: {path}, statusCode: {status}{hostname}}}}}]"
        );
        return text;
    }
    let mut filters = Vec::new();
    if dice.maybe() {
        let edit = dice.one(&[
            "set: [{name: x-a, value: new}]",
            "add: [{name: x-a, value: more}, {name: x-c, value: \"3\"}]",
            "remove: [x-a]",
            "set: [{name: x-b, value: new}], remove: [x-a, x-absent]",
        ]);
        filters.push(format!("{{type: RequestHeaderModifier, requestHeaderModifier: {{{edit}}}}}"));
    }
    if dice.maybe() {
        let hostname = dice.one(&["", ", hostname: other.test"]);
        filters.push(format!("{{type: URLRewrite, urlRewrite: {{path: {path}{hostname}}}}}"));
    }
    let _ = writeln!(text, "    filters: [{}]", filters.join(", "));
    let (all, none) =
        (dice.one(&["b0", "b1", "b2", "b2", "missing"]), dice.one(&["b0", "b1", "missing"]));
    let own = dice.one(&["", "", ", filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-c, value: own}]}}]"]);
    match dice.below(12) {
        0 => {}
        1 => text.push_str("    backendRefs: [{name: b0, port: 80, weight: 0}]\n"),
        _ => {
            let _ = writeln!(
                text,
                "    backendRefs: [{{name: {all}, port: 80, weight: 100{own}}}, {{name: {none}, port: 80, weight: 0}}]"
            );
        }
    }
    text
}

fn one_match(dice: &mut Dice, by_prefix: bool) -> String {
    let mut parts = Vec::new();
    if by_prefix {
        let prefix = dice.one(&["/", "/a", "/a/", "/a/b", "/c"]);
        parts.push(format!("path: {{type: PathPrefix, value: {prefix}}}"));
    } else {
        let path = dice.one(&[
            "{type: Exact, value: /a}",
            "{type: Exact, value: /a/b}",
            "{type: RegularExpression, value: \"/a/.*\"}",
            "{type: RegularExpression, value: \"/[ac]\"}",
        ]);
        parts.push(format!("path: {path}"));
    }
    if dice.below(3) == 0 {
        parts.push(format!("method: {}", dice.one(&["GET", "POST"])));
    }
    if dice.below(3) == 0 {
        let header = dice.one(&[
            "{name: x-a, value: \"1\"}",
            "{name: X-A, value: \"2\"}",
            "{name: x-b, type: RegularExpression, value: \"[12]\"}",
        ]);
        parts.push(format!("headers: [{header}]"));
    }
    if dice.below(4) == 0 {
        let value = dice.one(&["1", "2"]);
        parts.push(format!("queryParams: [{{name: q, value: \"{value}\"}}]"));
    }
    format!("{{{}}}", parts.join(", "))
}
