//! `hactl render`

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::args::{InventoryArg, LimitArg};
use super::context::{Context, Ended, Missing, Prepared};
use crate::error::{Error, Kind, Result};
use crate::plan::Desired;
use crate::report::Note;
use crate::resource::{Facts, Spec};
use crate::role::{self, SecretStore};
use crate::secret::Secret;
use crate::topology::Topology;

/// Marks a folder that hactl may replace.
const MARK: &str = ".hactl-render";

/// What stands for a secret.
const MASK: &str = "********";

/// Render every file of every host into a local folder
///
/// Touches no host; files are DIR/HOST/etc/nginx/nginx.conf and so on. Values that follow from a host's size (workers, buffers) are those of Debian 12 with 2 processors and 4 GiB. Files
/// that hactl shares with others hold only hactl's part.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    inventory: InventoryArg,
    #[command(flatten)]
    limit: LimitArg,
    /// The folder; replaced when an earlier render wrote it, refused when it holds anything else
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write secrets in clear instead of ********; files are then readable by their owner only
    #[arg(long)]
    with_secrets: bool,
}

/// Every secret is the mask.
struct Masked;

impl SecretStore for Masked {
    fn secret(&self, _name: &str) -> Result<Secret> {
        Ok(Secret::new(MASK))
    }
}

/// One file to write.
struct Rendered {
    path: String,
    text: String,
    secret: bool,
}

pub fn run(args: &Args, context: &Context) -> Result<Ended> {
    replaceable(&args.out)?;
    let missing = if args.with_secrets {
        Missing::StandIn
    } else {
        Missing::Offline
    };
    let prepared = Prepared::new(context, &args.inventory, &args.limit, missing)?;
    let secrets: &dyn SecretStore = if args.with_secrets { &prepared.secrets } else { &Masked };
    let topology = Topology::of(&prepared.inventory);
    let mut all = Vec::new();
    for view in topology.hosts().filter(|view| prepared.hosts.contains(&view.host.name)) {
        let desired = role::desired(view, &Facts::assumed(), &prepared.templates, secrets)?;
        all.push((desired.host.clone(), files(&desired)));
    }
    write(args, &all)
        .map_err(|error| Error::internal(format!("{}: cannot write rendered files: {error}", args.out.display())))?;
    for (host, files) in &all {
        for file in files {
            context.console.line(&Note::Rendered {
                host: host.clone(),
                path: file.path.clone(),
                masked: file.secret && !args.with_secrets,
            });
        }
        let folder = args.out.join(host);
        context
            .console
            .result(&format!("{host}: {} files in {}\n", files.len(), folder.display()));
    }
    Ok(Ended::with(0))
}

/// Refuses a folder with anything that an earlier render did not write.
fn replaceable(folder: &Path) -> Result<()> {
    let shown = folder.display();
    let failed = |error: io::Error| Error::usage(format!("{shown}: {error}"));
    let kind = match fs::symlink_metadata(folder) {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let empty = kind.is_dir() && fs::read_dir(folder).map_err(failed)?.next().is_none();
    if empty || (kind.is_dir() && folder.join(MARK).is_file()) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Refused,
        format!("{shown} is there and was not written by hactl render"),
    )
    .hint("choose another --out, or remove it yourself"))
}

fn files(desired: &Desired) -> Vec<Rendered> {
    let rendered = |path: &str, text: String, secret: bool| Rendered {
        path: path.to_owned(),
        text,
        secret,
    };
    let mut files: Vec<Rendered> = Vec::new();
    for resource in &desired.resources {
        let file = match &resource.spec {
            Spec::File(file) => rendered(&file.path, file.text.reveal().to_owned(), file.text.is_secret()),
            Spec::Block(block) => rendered(&block.path, block.text.clone(), false),
            Spec::JsonKeys(json) => {
                let mut keys = json.keys.clone();
                for (key, secret) in json.secrets.iter().chain(&json.seeds) {
                    keys.insert(key.clone(), secret.reveal().into());
                }
                let text = serde_json::to_string_pretty(&keys).unwrap_or_default() + "\n";
                rendered(&json.path, text, !json.secrets.is_empty() || !json.seeds.is_empty())
            }
            Spec::RedisPassword(redis) => rendered(&redis.file, redis.text().reveal().to_owned(), true),
            _ => continue,
        };
        match files.iter_mut().find(|other| other.path == file.path) {
            // Several blocks in one file.
            Some(other) => {
                other.text.push_str(&file.text);
                other.secret |= file.secret;
            }
            None => files.push(file),
        }
    }
    files
}

/// Writes beside the target and swaps, so that a failure leaves the earlier render.
fn write(args: &Args, all: &[(String, Vec<Rendered>)]) -> io::Result<()> {
    let target = std::path::absolute(&args.out)?;
    let parent = target.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent)?;
    let fresh = tempfile::Builder::new().prefix(".hactl-render-").tempdir_in(parent)?;
    let mode = |secret: bool| if args.with_secrets && secret { 0o600 } else { 0o644 };
    put(
        &fresh.path().join(MARK),
        "Written by hactl render; the next render replaces this folder.\n",
        0o644,
    )?;
    for (host, files) in all {
        for file in files {
            put(
                &inside(&fresh.path().join(host), &file.path)?,
                &file.text,
                mode(file.secret),
            )?;
        }
    }
    if !args.with_secrets {
        set_mode(fresh.path(), 0o755)?;
    }
    match fs::remove_dir_all(&target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(fresh.path(), &target)?;
    // It has moved; there is nothing to remove.
    let _ = fresh.keep();
    Ok(())
}

/// A host's path under a folder; one that would lead out of it is refused.
fn inside(root: &Path, path: &str) -> io::Result<PathBuf> {
    let mut out = root.to_path_buf();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::other(format!("{path} leads out of the folder")));
            }
        }
    }
    Ok(out)
}

fn put(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}
