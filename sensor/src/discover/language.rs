//! What a program is run by, by the names of its files.
//!
//! In: paths. Out: a name for people. Must not know: what the files hold.

use std::path::Path;

/// How the name of a library begins that only one runtime has.
const LIBRARIES: [(&str, &str); 9] = [
    ("libjvm.so", "java"),
    ("libcoreclr.so", "dotnet"),
    ("libnode.so", "node"),
    ("libpython", "python"),
    ("libpypy", "python"),
    ("libruby", "ruby"),
    ("libphp", "php"),
    ("libperl", "perl"),
    ("libelectron", "electron"),
];

/// How the name of an executable begins, before a version.
const EXECUTABLES: [(&str, &str); 15] = [
    ("python", "python"),
    ("pypy", "python"),
    ("node", "node"),
    ("nodejs", "node"),
    ("bun", "bun"),
    ("claude", "bun"),
    ("opencode", "bun"),
    ("deno", "deno"),
    ("java", "java"),
    ("ruby", "ruby"),
    ("php", "php"),
    ("perl", "perl"),
    ("beam.smp", "erlang"),
    ("dotnet", "dotnet"),
    ("electron", "electron"),
];

/// What runs a process that executes `exe` and has `mapped` other files. `library`: its
/// TLS, as a capture spells it, which only one language may use. `None`: a program in
/// machine code, as far as is known.
pub fn runtime<'p>(
    exe: Option<&Path>,
    mapped: impl IntoIterator<Item = &'p Path>,
    library: Option<&str>,
) -> Option<&'static str> {
    let by_exe = exe.and_then(name).and_then(|name| {
        let fits = |(known, _): &&(&str, &str)| is_version_of(name, known);
        EXECUTABLES.iter().find(fits)
    });
    let mut names = mapped.into_iter().filter_map(name);
    let by_library = || {
        names.find_map(|name| {
            LIBRARIES
                .iter()
                .find(|(beginning, _)| name.starts_with(beginning))
        })
    };
    by_exe
        .or_else(by_library)
        .map(|(_, runtime)| *runtime)
        .or(match library {
            Some("go") => Some("go"),
            Some("rustls") => Some("rust"),
            _ => None,
        })
}

fn name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// Whether `name` is `known`, with or without a version: `php8.2`, `bun-1.3`.
fn is_version_of(name: &str, known: &str) -> bool {
    let is_version = |rest: &str| {
        rest.bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'))
    };
    name.strip_prefix(known).is_some_and(is_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_exe(name: &str) -> Option<&'static str> {
        runtime(Some(&Path::new("/usr/bin").join(name)), [], None)
    }

    #[test]
    fn an_executable_tells_with_any_version() {
        assert_eq!(by_exe("python3.11"), Some("python"));
        assert_eq!(by_exe("node"), Some("node"));
        assert_eq!(by_exe("bun-1.3.14"), Some("bun"));
        assert_eq!(by_exe("php8.2"), Some("php"));
        assert_eq!(by_exe("bundle"), None);
        assert_eq!(by_exe("curl"), None);
    }

    #[test]
    fn a_library_tells_where_the_executable_does_not() {
        let mapped = [Path::new("/lib/libc.so.6"), Path::new("/opt/libjvm.so")];
        let server = Some(Path::new("/opt/elastic"));
        assert_eq!(runtime(server, mapped, Some("java")), Some("java"));
        assert_eq!(runtime(server, [], Some("go")), Some("go"));
        assert_eq!(runtime(server, [], Some("openssl")), None);
        assert_eq!(runtime(None, [], Some("rustls")), Some("rust"));
    }
}
