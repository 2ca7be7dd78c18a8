//! Runs TLS over socket pairs with a libssl of one's choice, for tests that trace it.
//!
//!     tls_exchange LIBSSL OUT
//!
//! Prints `ready`, waits for a line on standard input, talks on a few connections with
//! every spelling of read and write, and leaves what each end sent and got in
//! `OUT/CONNECTION-{client,server}-{write,read}`. Then it prints `done` with the numbers
//! of calls that moved data, `stepped` with the instructions that the kernel has laid out
//! for single-stepping, and waits for the end of its input.
//!
//! A key that both sides know stands in for certificates.

#![allow(unsafe_code, reason = "a C library is called through dlsym")]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uchar, c_uint, c_void};
use std::io::BufRead;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const CONNECTIONS: usize = 4;
const SIZES: [usize; 11] = [
    1, 2, 100, 1024, 4096, 16_383, 16_384, 16_385, 65_536, 150_000, 300_000,
];
const KEY: [u8; 16] = *b"0123456789abcdef";

type Pointer = *mut c_void;
type Plain = unsafe extern "C" fn(Pointer, *mut c_void, c_int) -> c_int;
type Ex = unsafe extern "C" fn(Pointer, *mut c_void, usize, *mut usize) -> c_int;
type Ex2 = unsafe extern "C" fn(Pointer, *mut c_void, usize, u64, *mut usize) -> c_int;

/// The functions of one libssl; the newer ones may be missing.
struct Library {
    read: Plain,
    peek: Plain,
    write: Plain,
    read_ex: Option<Ex>,
    write_ex: Option<Ex>,
    write_ex2: Option<Ex2>,
    new: unsafe extern "C" fn(Pointer) -> Pointer,
    free: unsafe extern "C" fn(Pointer),
    set_fd: unsafe extern "C" fn(Pointer, c_int) -> c_int,
    start: [unsafe extern "C" fn(Pointer) -> c_int; 2],
    ctrl: unsafe extern "C" fn(Pointer, c_int, c_long, Pointer) -> c_long,
    error: unsafe extern "C" fn(Pointer, c_int) -> c_int,
    context: Pointer,
}

// SAFETY: the context is only read once set up, and OpenSSL locks what it shares.
unsafe impl Sync for Library {}

static READS: AtomicU64 = AtomicU64::new(0);
static WRITES: AtomicU64 = AtomicU64::new(0);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let library = Library::open(&arguments.next().expect("LIBSSL"));
    let out = arguments.next().expect("OUT");
    let mut input = std::io::stdin().lock();
    let mut line = String::new();
    println!("ready");
    input.read_line(&mut line).expect("a line");
    std::thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            let (client, server) = UnixStream::pair().expect("a socket pair");
            let (library, out) = (&library, Path::new(&out));
            scope.spawn(move || End::new(library, client.into(), number, true).client(out));
            scope.spawn(move || End::new(library, server.into(), number, false).server(out));
        }
    });
    println!(
        "done {} {}",
        READS.load(Ordering::Relaxed),
        WRITES.load(Ordering::Relaxed)
    );
    println!("stepped{}", stepped());
    input.read_line(&mut line).expect("the end");
}

/// A copy of an instruction to step through, or the landing of return probes, which is
/// the first.
const SLOT: usize = 128;
/// Bytes of a slot that hold the instruction and what came after it.
const COPIED: usize = 16;

/// What stands in the page that the kernel gives to a process for this, in hexadecimal,
/// each after a space. No slot is cleared until the process ends.
fn stepped() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("own mappings");
    let pages = maps.lines().filter(|line| line.ends_with("[uprobes]"));
    let bounds = pages.filter_map(|line| line.split(' ').next()?.split_once('-'));
    let mut text = String::new();
    for (start, end) in bounds {
        let [start, end] = [start, end].map(|n| usize::from_str_radix(n, 16).expect("hexadecimal"));
        for slot in (start..end).step_by(SLOT).skip(1) {
            // SAFETY: mapped until the process ends, and what can be executed can be read.
            let bytes = unsafe { std::ptr::read_volatile(slot as *const [u8; COPIED]) };
            if bytes != [0; COPIED] {
                text.push(' ');
                text.extend(bytes.map(|byte| format!("{byte:02x}")));
            }
        }
    }
    text
}

impl Library {
    fn open(path: &str) -> Self {
        let path = CString::new(path).expect("a path");
        // SAFETY: a path that ends in NUL; initialisers of a libssl may run.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        if handle.is_null() {
            // SAFETY: dlopen failed, so there is a message.
            let message = unsafe { CStr::from_ptr(libc::dlerror()) };
            panic!("{}", message.to_string_lossy());
        }
        let find = |names: &[&CStr]| {
            // SAFETY: the handle is open, and names end in NUL.
            let found = names
                .iter()
                .map(|name| unsafe { libc::dlsym(handle, name.as_ptr()) });
            found.into_iter().find(|found| !found.is_null())
        };
        // OpenSSL 1.0.2 has to be told to set itself up.
        if let Some(initialise) = find(&[c"SSL_library_init"]) {
            // SAFETY: `int SSL_library_init(void)`
            unsafe { cast::<unsafe extern "C" fn() -> c_int>(initialise)() };
        }
        let need = |names: &[&CStr]| find(names).unwrap_or_else(|| panic!("no {names:?}"));
        // SAFETY: each is the function of that name, with its type in every version.
        unsafe {
            Self {
                context: context(&need),
                read: cast(need(&[c"SSL_read"])),
                peek: cast(need(&[c"SSL_peek"])),
                write: cast(need(&[c"SSL_write"])),
                read_ex: find(&[c"SSL_read_ex"]).map(|f| cast(f)),
                write_ex: find(&[c"SSL_write_ex"]).map(|f| cast(f)),
                write_ex2: find(&[c"SSL_write_ex2"]).map(|f| cast(f)),
                new: cast(need(&[c"SSL_new"])),
                free: cast(need(&[c"SSL_free"])),
                set_fd: cast(need(&[c"SSL_set_fd"])),
                start: [cast(need(&[c"SSL_accept"])), cast(need(&[c"SSL_connect"]))],
                ctrl: cast(need(&[c"SSL_ctrl"])),
                error: cast(need(&[c"SSL_get_error"])),
            }
        }
    }
}

/// # Safety
/// `pointer` is a function of type `F`.
unsafe fn cast<F: Copy>(pointer: Pointer) -> F {
    const { assert!(size_of::<F>() == size_of::<Pointer>()) };
    // SAFETY: as the caller says; both are one pointer wide.
    unsafe { std::mem::transmute_copy(&pointer) }
}

/// A context for both sides that speaks TLS 1.2 with the key.
///
/// # Safety
/// `need` gives the functions of one libssl by name.
unsafe fn context(need: &impl Fn(&[&CStr]) -> Pointer) -> Pointer {
    type Method = unsafe extern "C" fn() -> Pointer;
    type New = unsafe extern "C" fn(Pointer) -> Pointer;
    type Ciphers = unsafe extern "C" fn(Pointer, *const c_char) -> c_int;
    type OnServer = unsafe extern "C" fn(
        Pointer,
        unsafe extern "C" fn(Pointer, *const c_char, *mut c_uchar, c_uint) -> c_uint,
    );
    type OnClient = unsafe extern "C" fn(
        Pointer,
        unsafe extern "C" fn(
            Pointer,
            *const c_char,
            *mut c_char,
            c_uint,
            *mut c_uchar,
            c_uint,
        ) -> c_uint,
    );
    // SAFETY: the types are those of the functions of these names.
    unsafe {
        let method = cast::<Method>(need(&[c"TLS_method", c"SSLv23_method"]))();
        let context = cast::<New>(need(&[c"SSL_CTX_new"]))(method);
        assert!(!context.is_null(), "SSL_CTX_new failed");
        let list = cast::<Ciphers>(need(&[c"SSL_CTX_set_cipher_list"]));
        assert_eq!(
            list(context, c"PSK-AES128-CBC-SHA".as_ptr()),
            1,
            "no PSK ciphers"
        );
        cast::<OnServer>(need(&[c"SSL_CTX_set_psk_server_callback"]))(context, server_key);
        cast::<OnClient>(need(&[c"SSL_CTX_set_psk_client_callback"]))(context, client_key);
        context
    }
}

unsafe extern "C" fn server_key(
    _: Pointer,
    _: *const c_char,
    key: *mut c_uchar,
    size: c_uint,
) -> c_uint {
    assert!(size as usize >= KEY.len());
    // SAFETY: OpenSSL gives room for `size` bytes.
    unsafe { key.copy_from_nonoverlapping(KEY.as_ptr(), KEY.len()) };
    KEY.len() as c_uint
}

unsafe extern "C" fn client_key(
    ssl: Pointer,
    hint: *const c_char,
    identity: *mut c_char,
    _: c_uint,
    key: *mut c_uchar,
    size: c_uint,
) -> c_uint {
    // SAFETY: OpenSSL gives room for an identity of many bytes; this one has two.
    unsafe { identity.copy_from_nonoverlapping(c"x".as_ptr(), 2) };
    // SAFETY: as above.
    unsafe { server_key(ssl, hint, key, size) }
}

/// One end of one connection.
struct End<'l> {
    library: &'l Library,
    ssl: Pointer,
    socket: OwnedFd,
    number: usize,
    name: &'static str,
    /// Calls made, which choose the spelling of the next.
    turn: usize,
    written: Vec<u8>,
    received: Vec<u8>,
}

impl<'l> End<'l> {
    fn new(library: &'l Library, socket: OwnedFd, number: usize, client: bool) -> Self {
        /// `SSL_CTRL_MODE` with partial writes, and buffers that may move.
        const MODE: (c_int, c_long) = (33, 3);
        // SAFETY: the context lives; the socket lives as long as the object.
        let ssl = unsafe { (library.new)(library.context) };
        let end = Self {
            library,
            ssl,
            socket,
            number,
            name: if client { "client" } else { "server" },
            turn: 0,
            written: Vec::new(),
            received: Vec::new(),
        };
        let fd = end.socket.as_raw_fd();
        // SAFETY: plain calls on an object and a descriptor that live.
        unsafe {
            assert_eq!(libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK), 0);
            assert_eq!((library.set_fd)(ssl, fd), 1);
            if number % 2 == 1 {
                (library.ctrl)(ssl, MODE.0, MODE.1, std::ptr::null_mut());
            }
        }
        let start = library.start[usize::from(client)];
        // SAFETY: the object lives.
        end.until_positive(|| unsafe { start(ssl) });
        end
    }

    /// Repeats a call, waiting for the socket, until it succeeds.
    fn until_positive(&self, mut call: impl FnMut() -> c_int) -> c_int {
        const WANT: [c_int; 2] = [2, 3];
        loop {
            let result = call();
            if result > 0 {
                return result;
            }
            // SAFETY: the object lives.
            let error = unsafe { (self.library.error)(self.ssl, result) };
            assert!(
                WANT.contains(&error),
                "{} {}: error {error}",
                self.number,
                self.name
            );
            let events = if error == WANT[0] {
                libc::POLLIN
            } else {
                libc::POLLOUT
            };
            let mut poll = libc::pollfd {
                fd: self.socket.as_raw_fd(),
                events,
                revents: 0,
            };
            // SAFETY: one entry.
            unsafe { libc::poll(&raw mut poll, 1, -1) };
        }
    }

    /// Sends everything, by the next spelling.
    fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.turn += 1;
            let (l, ssl, turn) = (self.library, self.ssl, self.turn);
            let (data, size) = (bytes.as_ptr().cast_mut().cast(), bytes.len());
            let mut done = 0;
            // SAFETY: `size` bytes are readable at `data`, and are only read.
            let result = self.until_positive(|| unsafe {
                match (turn % 3, l.write_ex, l.write_ex2) {
                    (1, Some(write), _) => write(ssl, data, size, &raw mut done),
                    (2, _, Some(write)) => write(ssl, data, size, 0, &raw mut done),
                    _ => {
                        let result = (l.write)(ssl, data, size as c_int);
                        done = usize::try_from(result).unwrap_or(0);
                        result
                    }
                }
            });
            assert!(result > 0 && done > 0);
            WRITES.fetch_add(1, Ordering::Relaxed);
            self.written.extend_from_slice(&bytes[..done]);
            bytes = &bytes[done..];
        }
    }

    /// Receives so many bytes, by the next spelling, with a look ahead now and then.
    fn receive(&mut self, mut left: usize) {
        let mut buffer = vec![0; 32 << 10];
        while left > 0 {
            self.turn += 1;
            let (l, ssl, turn) = (self.library, self.ssl, self.turn);
            let (data, size) = (buffer.as_mut_ptr().cast(), left.min(buffer.len()));
            if turn % 5 == 0 {
                // SAFETY: `size` bytes are writable at `data`.
                self.until_positive(|| unsafe { (l.peek)(ssl, data, size as c_int) });
            }
            let mut done = 0;
            // SAFETY: as above.
            self.until_positive(|| unsafe {
                match (turn % 2, l.read_ex) {
                    (1, Some(read)) => read(ssl, data, size, &raw mut done),
                    _ => {
                        let result = (l.read)(ssl, data, size as c_int);
                        done = usize::try_from(result).unwrap_or(0);
                        result
                    }
                }
            });
            READS.fetch_add(1, Ordering::Relaxed);
            self.received.extend_from_slice(&buffer[..done]);
            left -= done;
        }
    }

    fn client(mut self, out: &Path) {
        for size in SIZES {
            self.send(&content(self.number, size, 1));
            self.receive(size);
        }
        self.finish(out);
    }

    fn server(mut self, out: &Path) {
        for size in SIZES {
            self.receive(size);
            self.send(&content(self.number, size, 2));
        }
        self.finish(out);
    }

    fn finish(self, out: &Path) {
        for (direction, bytes) in [("write", &self.written), ("read", &self.received)] {
            let file = out.join(format!("{}-{}-{direction}", self.number, self.name));
            std::fs::write(file, bytes).expect("OUT is writable");
        }
        // SAFETY: the object is used no more.
        unsafe { (self.library.free)(self.ssl) };
    }
}

/// Bytes that differ by connection, size and side.
fn content(number: usize, size: usize, side: u64) -> Vec<u8> {
    let mut state = (number as u64 + 1) << 32 | (size as u64) << 8 | side;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(size).collect()
}
