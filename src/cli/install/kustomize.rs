//! The kustomize base: the plain manifests in files, and the list of them.
//!
//! Images are changed as kustomize does it (`images`), and the rest by patches of one's own.

use crate::control::install::{Group, Settings, group};

use super::deploy::{File, GENERATED};
use super::documents;

/// Relative to the folder of all.
const FOLDER: &str = "kustomize";

pub(super) fn files() -> Vec<File> {
    let settings = Settings::default();
    let mut all: Vec<File> = Group::ALL
        .into_iter()
        .map(|of| {
            let text = format!("{GENERATED}{}", documents(&group(of, &settings)));
            File::new(format!("{FOLDER}/{}.yaml", of.file()), text)
        })
        .collect();
    let names: String = Group::ALL.iter().map(|of| format!("  - {}.yaml\n", of.file())).collect();
    let list = format!(
        "{GENERATED}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{names}"
    );
    all.push(File::new(format!("{FOLDER}/kustomization.yaml"), list));
    all
}
