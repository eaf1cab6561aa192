//! What a role sees while it declares, and how it declares.

use serde_json::Value;

use super::{SecretStore, Templates};
use crate::error::Result;
use crate::inventory::Inventory;
use crate::resource::{Absent, Directory, Facts, File, Link, Package, Resource, Source, Spec};
use crate::secret::{Secret, Text};
use crate::topology::HostView;

/// A role's view of one host, and the list that it fills.
pub struct Scope<'a> {
    role: &'static str,
    stage: u8,
    /// The host in its cluster.
    pub view: HostView<'a>,
    /// What the host is.
    pub facts: &'a Facts,
    templates: &'a Templates,
    secrets: &'a dyn SecretStore,
    resources: Vec<Resource>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(
        role: &'static str,
        view: HostView<'a>,
        facts: &'a Facts,
        templates: &'a Templates,
        secrets: &'a dyn SecretStore,
    ) -> Self {
        Scope {
            role,
            stage: 0,
            view,
            facts,
            templates,
            secrets,
            resources: Vec::new(),
        }
    }

    pub(super) fn into_resources(self) -> Vec<Resource> {
        self.resources
    }

    /// The inventory.
    pub fn inventory(&self) -> &'a Inventory {
        self.view.topology.inventory
    }

    /// What follows waits for all hosts to finish what came before (see [`super::stage`]). One server waits for nobody.
    pub fn barrier(&mut self, stage: u8) {
        if !self.view.topology.is_single() {
            self.stage = stage;
        }
    }

    /// Declares a resource; they converge in the order of declaration.
    pub fn add(&mut self, spec: impl Into<Spec>) {
        self.resources.push(Resource {
            role: self.role,
            stage: self.stage,
            spec: spec.into(),
        });
    }

    /// Declares packages (installed before everything else, in one transaction).
    pub fn packages(&mut self, names: &[&str]) {
        for name in names {
            self.add(Package {
                name: (*name).to_owned(),
            });
        }
    }

    /// Declares a directory.
    pub fn directory(&mut self, path: &str, owner: &str, group: &str, mode: u32) {
        self.add(Directory {
            path: path.into(),
            owner: owner.into(),
            group: group.into(),
            mode,
        });
    }

    /// Declares a link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.add(Link {
            path: path.into(),
            target: target.into(),
        });
    }

    /// Declares that a file must not exist.
    pub fn absent(&mut self, path: &str) {
        self.add(Absent { path: path.into() });
    }

    /// A file from a template, root's and 0644 (0600 when secrets went into it) until said otherwise; pass it to [`Scope::add`].
    ///
    /// # Errors
    /// The template's, with its file and line.
    pub fn file(&self, path: &str, template: &str, context: &Value) -> Result<File> {
        let (text, source) = self.templates.render(template, context, self.secrets)?;
        let mode = if text.is_secret() { 0o600 } else { 0o644 };
        Ok(File {
            source: Some(source),
            mode,
            ..File::new(path, text)
        })
    }

    /// Renders a template that is none of hactl's own.
    ///
    /// # Errors
    /// The template's, with its file and line.
    pub(super) fn render(&self, template: &Templates, context: &Value) -> Result<(Text, Source)> {
        template.render(super::templates::SINGLE, context, self.secrets)
    }

    /// A secret's value.
    ///
    /// # Errors
    /// When it is missing; the error says how to set it.
    pub fn secret(&self, name: &str) -> Result<Secret> {
        self.secrets.secret(name)
    }

    /// Older values of a rotated secret that hosts may still have; see [`SecretStore::previous`].
    pub fn previous(&self, name: &str) -> Vec<Secret> {
        self.secrets.previous(name)
    }
}
