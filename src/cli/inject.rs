//! `outrigger inject`: manifests in, the same manifests with sidecars out. The work is the control
//! plane's own, so that a manifest and a pod that is created come out the same.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::output::{self, Format};
use super::traces::Traces;
use super::{complain, control_plane, emit, refuse};
use crate::control::inject::{Settings, documents};
use crate::model::TrustDomain;
use crate::resources::{Fault, Origin, text_from, texts};

/// What is injected, and with what.
#[derive(Args, Debug)]
pub(super) struct Inject {
    /// Files and folders of manifests; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// The sidecar's image; by default the one of this version
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    proxy_image: Option<String>,
    /// The trust domain of the mesh
    #[arg(long, value_name = "NAME", default_value = "cluster.local", value_parser = control_plane::trust_domain)]
    trust_domain: TrustDomain,
    /// Where sidecars reach the control plane; by default where `install` puts it
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    control_plane: Option<String>,
    #[command(flatten)]
    traces: Traces,
    /// Ordinary containers instead of native sidecars, for clusters before 1.29
    #[arg(long)]
    classic: bool,
    /// How the manifests are printed
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t = Form::Yaml)]
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Yaml,
    Json,
}

impl Inject {
    /// Injects and prints: everything, or nothing.
    pub(super) fn run(self) -> ExitCode {
        let settings = self.settings();
        let (mut printed, mut remarks, mut faults) = (String::new(), Vec::new(), Vec::new());
        for text in self.texts(io::stdin()) {
            let injected = text
                .map_err(|fault| vec![fault])
                .and_then(|(source, text)| documents(&text, &source, &settings));
            match injected {
                Ok(injected) => {
                    injected.documents.iter().for_each(|each| self.print(each, &mut printed));
                    remarks.extend(injected.remarks);
                }
                Err(found) => faults.extend(found),
            }
        }
        if !faults.is_empty() {
            return refuse(&faults);
        }
        remarks.iter().for_each(|remark| complain(remark));
        emit(&printed)
    }

    fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.trust_domain.clone());
        settings.native_sidecars = !self.classic;
        settings.traces = self.traces.clone().settings();
        if let Some(image) = &self.proxy_image {
            settings.proxy_image.clone_from(image);
        }
        if let Some(address) = &self.control_plane {
            settings.control_plane.clone_from(address);
        }
        settings
    }

    fn texts(&self, input: impl io::Read) -> Vec<Result<(Origin, String), Fault>> {
        let is_input = |path: &&PathBuf| *path == Path::new("-");
        let files: Vec<PathBuf> =
            self.paths.iter().filter(|path| !is_input(path)).cloned().collect();
        let source = Origin::file("standard input");
        let input = self.paths.iter().any(|path| is_input(&path)).then(|| {
            let text = text_from(input, &source);
            text.map(|text| (source, text))
        });
        texts(&files).chain(input).collect()
    }

    fn print(&self, document: &Value, printed: &mut String) {
        match self.form {
            Form::Json => printed.push_str(&output::render(document, None, Format::Json)),
            Form::Yaml => {
                if !printed.is_empty() {
                    printed.push_str("---\n");
                }
                printed.push_str(&output::render(document, None, Format::Yaml));
            }
        }
    }
}

fn image(text: &str) -> Result<String, String> {
    let is_one = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    is_one.then(|| text.to_owned()).ok_or_else(|| "expected an image's name".into())
}

fn host_and_port(text: &str) -> Result<String, String> {
    let sound = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    sound.then(|| text.to_owned()).ok_or_else(|| "expected HOST:PORT".into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::control::inject::documents;

    fn inject(form: Form) -> Inject {
        Inject {
            paths: vec!["-".into()],
            proxy_image: Some("mine:1".into()),
            trust_domain: TrustDomain::default(),
            control_plane: Some("plane.example:15010".into()),
            traces: Traces::default(),
            classic: true,
            form,
        }
    }

    const PODS: &str = "
{kind: Pod, apiVersion: v1, metadata: {name: a}, spec: {containers: [{name: a, image: a}]}}
---
{kind: ConfigMap, apiVersion: v1, metadata: {name: c}, data: {x: 'on', run: \"a\\nb\\n\"}}
";

    #[test]
    fn what_is_printed_reads_back_to_the_same() {
        let at = Origin::file("standard input");
        for form in [Form::Yaml, Form::Json] {
            let inject = inject(form);
            let mut texts = inject.texts(PODS.as_bytes());
            assert_eq!(texts.len(), 1);
            let (source, text) = texts.remove(0).expect("it can be read");
            assert_eq!(source, at);
            let injected = documents(&text, &source, &inject.settings()).expect("sound");
            assert_eq!(injected.documents.len(), 2);
            let proxy = &injected.documents[0]["spec"]["containers"][0];
            assert_eq!((&proxy["image"], &proxy["args"][0]), (&"mine:1".into(), &"run".into()));
            for document in &injected.documents {
                let mut printed = String::new();
                inject.print(document, &mut printed);
                let again = documents(&printed, &at, &inject.settings()).expect("sound");
                assert_eq!(&again.documents, std::slice::from_ref(document), "{printed}");
            }
        }
    }

    #[test]
    fn every_fault_of_every_file_is_shown() {
        let folder =
            std::env::temp_dir().join(format!("outrigger-inject-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("a.yaml"), "kind: Pod\napiVersion: v1\nspec: {}\n").expect("written");
        fs::write(folder.join("b.yaml"), "a: [").expect("written");
        let inject =
            Inject { paths: vec![folder.clone(), folder.join("none")], ..inject(Form::Yaml) };
        let mut faults = Vec::new();
        for text in inject.texts(io::empty()) {
            let injected = text.map_err(|fault| vec![fault]);
            let injected =
                injected.and_then(|(at, text)| documents(&text, &at, &inject.settings()));
            faults.extend(injected.expect_err("wrong").iter().map(Fault::to_string));
        }
        let _ = fs::remove_dir_all(&folder);
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].contains("a.yaml:3: spec.containers: names no container"), "{faults:?}");
        assert!(faults[2].contains("none: can't be read"), "{faults:?}");
    }

    #[test]
    fn flags_are_checked() {
        assert!(image("a b").is_err() && image("").is_err() && image("a/b:1").is_ok());
        for (text, sound) in [("a:1", true), ("a", false), (":1", false), ("a:0", false)] {
            assert_eq!(host_and_port(text).is_ok(), sound, "{text}");
        }
    }
}
