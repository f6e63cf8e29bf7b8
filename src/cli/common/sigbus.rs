//! A weight file that becomes shorter while it is mapped: an error that names it, in place of a signal.

use std::{
    ffi::c_int,
    sync::atomic::{AtomicBool, Ordering},
};

use libc::{c_void, siginfo_t};

/// Longest path that is named.
const LONGEST: usize = 4096;

const BEFORE: &[u8] = b"error: ";
const AFTER: &[u8] = b" became shorter, or could not be read, while it was in use; no score that was not written counts. \
    Put the file back, or export the checkpoint again\n";

/// Whether a thread is at it: others, which compute with the same file, meet the same end.
static HANDLING: AtomicBool = AtomicBool::new(false);

/// Has the process end with status 1, and a message, when it reads what a mapped file has no more.
#[allow(unsafe_code)]
pub(crate) fn install() {
    // SAFETY: an all-zero `sigaction` is a valid one. The handler has the signature that SA_SIGINFO asks for and does
    // only what a handler of signals may do. Where it cannot be set, the signal does what it always did.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = handle;
        action.sa_sigaction = handler as usize;
        // On the thread's own stack: there are alternate ones that hold no more than the signal's frame.
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut());
    }
}

/// Only calls what is safe in a handler of signals (open, read, write, pause, signal, _exit), and allocates nothing.
#[allow(unsafe_code)]
extern "C" fn handle(_signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    if HANDLING.swap(true, Ordering::SeqCst) {
        loop {
            // SAFETY: waits until the process ends.
            unsafe { libc::pause() };
        }
    }
    // SAFETY: the system hands over a valid `info`, and a SIGBUS has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    let mut search = Search::new(address);
    // SAFETY: the path is a C string, and the buffer is as long as it says.
    unsafe {
        let maps = libc::open(
            c"/proc/self/maps".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        );
        let mut buffer = [0_u8; 512];
        loop {
            let read = libc::read(maps, buffer.as_mut_ptr().cast(), buffer.len());
            let Some(bytes) = usize::try_from(read)
                .ok()
                .and_then(|count| buffer.get(..count))
            else {
                break;
            };
            if bytes.is_empty() || bytes.iter().any(|&byte| search.feed(byte)) {
                break;
            }
        }
    }
    let Some(path) = search.found() else {
        // No file: the instruction is tried again, and the signal, no longer caught, ends the process.
        // SAFETY: a signal's default may be set at any time.
        unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
        return;
    };
    for part in [BEFORE, path, AFTER] {
        // SAFETY: the buffer is as long as it says.
        unsafe { libc::write(libc::STDERR_FILENO, part.as_ptr().cast(), part.len()) };
    }
    // SAFETY: ends the process, and runs nothing of it.
    unsafe { libc::_exit(1) }
}

/// Looks for the file that is mapped at an address in the lines of `/proc/self/maps`, such as
/// `7f00-7fff r--p 00000000 08:01 123    /path`.
struct Search {
    address: usize,
    /// Fields of the line that are over.
    fields: u8,
    begin: usize,
    number: usize,
    is_in: bool,
    path: [u8; LONGEST],
    length: usize,
    done: bool,
}

impl Search {
    fn new(address: usize) -> Self {
        Self {
            address,
            fields: 0,
            begin: 0,
            number: 0,
            is_in: false,
            path: [0; LONGEST],
            length: 0,
            done: false,
        }
    }

    /// Takes the next byte; returns whether the search is over.
    fn feed(&mut self, byte: u8) -> bool {
        match (self.fields, byte) {
            (_, b'\n') => {
                self.done = self.is_in;
                self.fields = 0;
                self.number = 0;
            }
            (0, b'-') => {
                self.begin = self.number;
                self.number = 0;
            }
            (0, b' ') => {
                self.is_in = (self.begin..self.number).contains(&self.address);
                self.fields = 1;
            }
            (0, digit) => {
                let digit = (digit as char).to_digit(16).unwrap_or(0) as usize;
                self.number = (self.number << 4) | digit;
            }
            (1..=4, b' ') => self.fields += 1,
            (1..=4, _) => {}
            (_, b' ') if self.length == 0 => {}
            (_, byte) if self.is_in => {
                if let Some(place) = self.path.get_mut(self.length) {
                    *place = byte;
                    self.length += 1;
                }
            }
            _ => {}
        }
        self.done
    }

    /// The path of the file, when there is one.
    fn found(&self) -> Option<&[u8]> {
        let path = self.path.get(..self.length)?;
        (self.done && path.starts_with(b"/")).then_some(path)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MAPS: &[u8] =
        b"55d0-55e0 r--p 00000000 fe:00 1234                       /usr/bin/a program\n\
        7f0000000000-7f0000001000 rw-p 00000000 00:00 0 \n\
        7f0000001000-7f0000003000 r--p 00001000 fe:00 77    /models/model 1.safetensors (deleted)\n\
        7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0      [stack]\n";

    fn find(address: usize) -> Option<String> {
        let mut search = Search::new(address);
        let _ = MAPS.iter().any(|&byte| search.feed(byte));
        search
            .found()
            .map(|path| String::from_utf8(path.to_vec()).unwrap())
    }

    #[test]
    fn the_file_at_an_address() {
        assert_eq!(find(0x55d0).unwrap(), "/usr/bin/a program");
        assert_eq!(find(0x55df).unwrap(), "/usr/bin/a program");
        let model = "/models/model 1.safetensors (deleted)";
        assert_eq!(find(0x7f00_0000_1000).unwrap(), model);
        assert_eq!(find(0x7f00_0000_2fff).unwrap(), model);
        for nothing in [
            0,
            0x55e0,
            0x7f00_0000_0008,
            0x7f00_0000_3000,
            0x7ffd_0000_0000,
        ] {
            assert_eq!(find(nothing), None, "{nothing:x}");
        }
    }

    #[test]
    fn the_maps_of_this_process() {
        let address = the_maps_of_this_process as fn() as usize;
        let mut search = Search::new(address);
        let maps = std::fs::read("/proc/self/maps").unwrap();
        assert!(maps.iter().any(|&byte| search.feed(byte)));
        let program = std::env::current_exe().unwrap();
        assert_eq!(
            search.found().unwrap(),
            program.as_os_str().as_encoded_bytes()
        );
    }
}
