//! `mount -t lattice lattice:NAME DIR` and fstab: mount(8) runs `/sbin/mount.lattice`, which is a symlink to `lattice`:
//!
//! `ln -s "$(command -v lattice)" /sbin/mount.lattice` (the Debian package brings it, and `mount.fuse.lattice` for the type
//! that the kernel shows), then in fstab `lattice:home /home/me/home lattice noauto,user 0 0`.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::command::mount::MountArgs;
use crate::paths::is_mount_helper;

/// What mount(8) asks for.
#[derive(Debug)]
pub struct Asked {
    pub mount: MountArgs,
    /// `-o home=DIR`: whose stores, for a mount at boot.
    pub home: Option<PathBuf>,
}

/// Options that are for mount(8), or true of every mount of ours.
const PASSED_OVER: &[&str] = &[
    "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "_netdev", "nofail", "rw",
    "nosuid", "nodev", "exec", "async", "relatime", "dev", "suid",
];

/// `None`: the program was called as itself.
pub fn parse(args: &[OsString]) -> Option<Result<Asked, String>> {
    let (name, rest) = args.split_first()?;
    is_mount_helper(name).then(|| helper(rest))
}

fn helper(args: &[OsString]) -> Result<Asked, String> {
    let (mut places, mut options) = (Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("-o") => options.extend(args.next().and_then(|o| o.to_str()).unwrap_or_default().split(',')),
            Some("-t" | "-N") => drop(args.next()),
            // Sloppy, fake, no mtab, verbose: nothing that matters here.
            Some(flag) if flag.starts_with('-') && flag.len() > 1 => {}
            _ => places.push(arg.clone()),
        }
    }
    let [source, dir] = &places[..] else {
        return Err(
            "mount.lattice takes a source (lattice:NAME, or lattice for all stores) and a directory".into()
        );
    };
    let source = source.to_str().ok_or("the source is not UTF-8")?;
    let store = match source.strip_prefix("lattice").map(|s| s.strip_prefix(':').unwrap_or(s)) {
        Some("") => None,
        Some(name) if source.starts_with("lattice:") => Some(name.to_owned()),
        _ => {
            return Err(format!(
                "{source:?} is not a source of ours: it is lattice:NAME, or lattice for all stores"
            ));
        }
    };
    let (mut read_only, mut allow_other, mut no_passthrough, mut home) = (false, false, false, None);
    for option in options {
        match option {
            "ro" => read_only = true,
            "allow_other" => allow_other = true,
            "nopassthrough" => no_passthrough = true,
            o if o.starts_with("home=") => home = Some(PathBuf::from(&o[5..])),
            o if o.is_empty()
                || o.starts_with("x-")
                || o.starts_with("comment=")
                || PASSED_OVER.contains(&o) => {}
            o => {
                return Err(format!(
                    "the option {o:?} is not one of ro, rw, allow_other, nopassthrough, home=DIR"
                ));
            }
        }
    }
    let mount = MountArgs::of_helper(store, dir.into(), read_only, allow_other, no_passthrough);
    Ok(Asked { mount, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(args: &[&str]) -> Option<Result<Asked, String>> {
        parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_mount_8_says_is_understood() {
        assert!(asked(&["/usr/bin/lattice", "mount"]).is_none());
        let good =
            asked(&["/sbin/mount.lattice", "lattice:home", "/mnt", "-o", "ro,noauto,home=/x,x-y=z", "-v"]);
        let good = good.expect("a helper").expect("understood");
        assert_eq!(good.home.as_deref(), Some(std::path::Path::new("/x")));
        let text = format!("{:?}", good.mount);
        assert!(text.contains("[\"home\", \"/mnt\"]") && text.contains("read_only: true"), "{text}");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for args in [
            &["mount.lattice", "lattice:a"][..],
            &["mount.lattice", "latticework", "/m"],
            &["mount.lattice", "nfs:a", "/m"],
            &["mount.lattice", "lattice:a", "/m", "-o", "noexec"],
        ] {
            assert!(asked(args).expect("a helper").is_err(), "{args:?}");
        }
    }
}
