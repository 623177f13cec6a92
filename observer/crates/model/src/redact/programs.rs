//! Programs whose arguments are known: which of their flags take no value, a value that is no
//! credential, a variable, a script. What is not here is unknown, and unknown values are not shown.

/// What is known of a program's arguments. Lists are words with spaces between; flags are named
/// without their hyphens.
#[derive(Debug)]
pub(super) struct Program {
    /// What it is called
    pub names: &'static str,
    /// Flags have one hyphen and names of several letters, as the flag package takes them
    pub long_single: bool,
    /// A flag that is not listed may take the next argument for its value
    pub greedy: bool,
    /// Another program and its arguments may follow
    pub wraps: bool,
    /// Its name is a word that other programs have for themselves, too: `set`, `test`
    pub builtin: bool,
    /// No argument that is no flag is shown: `echo`
    pub speaks: bool,
    /// Flags without a value
    pub switches: &'static str,
    /// Letters that may stand together behind one hyphen: `-xzf`
    pub letters: &'static str,
    /// Flags whose value is no credential
    pub values: &'static str,
    /// Flags with a format or template
    pub formats: &'static str,
    /// Flags with `NAME=value`
    pub variables: &'static str,
    /// Flags with one of git's settings
    pub configs: &'static str,
    /// Flags with a shell's script
    pub scripts: &'static str,
    /// Flags whose value is a credential, or may hold one, though their name does not say so
    pub secrets: &'static str,
}

/// A program of which nothing is known.
pub(super) const UNKNOWN: Program = Program {
    names: "",
    long_single: false,
    greedy: true,
    wraps: true,
    builtin: false,
    speaks: false,
    switches: "help verbose quiet version",
    letters: "",
    values: "",
    formats: "",
    variables: "",
    configs: "",
    scripts: "",
    secrets: "",
};

const QUIET: Program = Program { greedy: false, wraps: false, ..UNKNOWN };

const PROGRAMS: [Program; 15] = [
    Program {
        names: "go",
        long_single: true,
        wraps: false,
        switches: "a n race msan asan cover v work x asmflags linkshared modcacherw trimpath json c i \
            short failfast benchmem u t d m e deps export find test compiled retracted versions \
            diff compat insecure fullpath fix s w changed cache testcache modcache fuzzcache \
            print fmt artifacts src h help tool args",
        values: "C p covermode coverpkg coverprofile buildmode buildvcs compiler installsuffix mod \
            modfile overlay pgo pkgdir tags o run skip bench benchtime count cpu fuzz fuzztime \
            list parallel shuffle timeout vet vettool outputdir cpuprofile memprofile \
            blockprofile mutexprofile trace reuse go toolchain require droprequire exclude \
            replace dropreplace module use dropuse blockprofilerate memprofilerate \
            test.timeout test.run test.v test.count test.paniconexit0 test.testlogfile",
        formats: "f",
        secrets: "ldflags gccgoflags exec toolexec",
        ..UNKNOWN
    },
    Program {
        names: "compile link asm cgo vet cover buildid pack covdata gofmt preprofile",
        long_single: true,
        wraps: false,
        switches: "std complete pack nolocalimports shared dynlink race V S D I v s w linkobj symabis \
            gensymabis compiling-runtime smallframes N l m json unsafeptr dynimport objdir",
        values: "o p lang importcfg trimpath goversion buildmode c asmhdr embedcfg extld \
            installsuffix importpath mode var outfilelist pkgcfg linkmode pgoprofile",
        ..UNKNOWN
    },
    Program {
        names: "git git-* scalar",
        letters: "aflmnpqrsuvtxzbdDVPi",
        values: "C git-dir work-tree namespace exec-path super-prefix depth deepen shallow-since \
            prefix object-format ref-format initial-branch template n max-count b branch sort \
            merged no-merged contains points-to verify upload-pack receive-pack abbrev \
            abbrev-ref negotiation-tip filter jobs j recurse-submodules thin stdin keep \
            max-input-size pack_header strict timeout refmap show-forced-updates color \
            untracked-files ignore-submodules diff-filter unified task progress server \
            shallow-file negotiate-only",
        formats: "format pretty",
        configs: "c config",
        secrets: "o server-option push-option m message F config-env",
        ..QUIET
    },
    Program {
        names: "hg svn fossil bzr brz",
        wraps: false,
        switches: "noninteractive non-interactive U q y noupdate",
        letters: "Uqvyfn",
        values: "r rev revision R cwd depth",
        ..UNKNOWN
    },
    Program {
        names: "sh bash dash zsh ash ksh",
        switches: "noprofile norc login",
        letters: "aefhiklmnuvxBCEH",
        scripts: "c",
        values: "o O",
        ..QUIET
    },
    Program {
        names: "ssh scp sftp plink",
        wraps: false,
        letters: "46AaCfGgKkMNnqsTtVvXxYy",
        values: "p P i F o l S J c b E",
        ..UNKNOWN
    },
    Program {
        names: "docker podman buildah nerdctl docker-compose podman-compose crictl ctr executor",
        switches: "rm it i t d interactive tty detach privileged no-cache quiet q init read-only \
            pull-never pull-always squash layers push load replace remote debug D all a rootless \
            systemd no-hosts password-stdin",
        letters: "adiqtD",
        values: "v volume w workdir network net name f file platform target entrypoint userns user \
            pull progress hostname h add-host dns cap-add cap-drop memory m cpus restart tmpfs \
            env-file tag root runroot storage-driver log-level publish authfile isolation format \
            jobs context H host shm-size ulimit",
        variables: "e env build-arg build-context unsetenv",
        secrets: "p u secret label l annotation mount ssh creds security-opt storage-opt",
        ..UNKNOWN
    },
    Program {
        names: "curl wget",
        wraps: false,
        switches: "fail silent show-error location insecure compressed http1.1 http2 \
            no-check-certificate",
        letters: "fsSLkvIOqgNRJ46",
        values: "o output O X request retry max-time connect-timeout m timeout tries",
        secrets: "u user H d F b U proxy-user form post-file post-data E",
        ..UNKNOWN
    },
    Program {
        names: "make gmake ninja just task mage bazel bazelisk",
        switches: "k s B silent always-make keep-going no-print-directory w",
        letters: "ksBnqriw",
        values: "C f j l directory file jobs o",
        ..UNKNOWN
    },
    Program {
        names: "env busybox command exec nohup time setsid stdbuf xargs ionice nice eval",
        letters: "iv0rwtcp",
        values: "u unset C chdir n P o e",
        scripts: "S",
        ..UNKNOWN
    },
    Program {
        names: "sudo doas su runuser timeout unshare nsenter chroot ip systemd-run setpriv taskset \
            strace ltrace perf conmon tini dumb-init catatonit goobserve",
        switches: "E H n foreground preserve-status preserve-env json tui anonymize f m r",
        letters: "EHnifqmnpr",
        values: "u user g k s signal kill-after report color record runs",
        scripts: "c",
        secrets: "with versus set setenv",
        ..UNKNOWN
    },
    Program {
        names: "gcc g++ cc c++ clang clang++ ld ld.* as ar collect2 cc1 pkg-config lto-wrapper \
            x86_64-linux-gnu-gcc aarch64-linux-gnu-gcc",
        long_single: true,
        wraps: false,
        switches: "c g v E S shared static rdynamic pthread pipe w P quiet cflags libs xc",
        values: "o I L l x O m f W std march mtune plugin z e dumpbase dumpdir include isystem soname \
            rpath",
        ..UNKNOWN
    },
    Program {
        builtin: true,
        names: "echo printf expect openssl htpasswd sshpass vault keyctl read",
        wraps: false,
        speaks: true,
        ..UNKNOWN
    },
    Program {
        builtin: true,
        names: "sleep true false cd test [ cat ls rm cp mv mkdir touch grep wait kill ps id \
            uname head tail sort wc find chmod chown mount umount ln tar set",
        letters: "abcdefghiklmnopqrstuvwxzAFHLPRST1",
        values: "n o f C name type maxdepth",
        ..QUIET
    },
    Program {
        builtin: true,
        names: "export local declare readonly unset if then else while until do for fi done ! { }",
        letters: "xrgp",
        ..UNKNOWN
    },
];

/// Whether a word is in a list.
pub(super) fn has(list: &str, word: &str) -> bool {
    list.split(' ').any(|one| one == word)
}

/// What is known of the program of that name; `None` for one that is not here.
pub(super) fn known(name: &str) -> Option<&'static Program> {
    let name = name.rsplit('/').next().unwrap_or(name).trim_start_matches('-'); // a login shell's
    let is = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    };
    // Toolchains beside each other are called go1.26.8.
    let name = if name.starts_with("go1.") { "go" } else { name };
    let is = |pattern: &str| if name == "go" { pattern == "go" } else { is(pattern) };
    PROGRAMS.iter().find(|program| program.names.split(' ').any(is))
}
