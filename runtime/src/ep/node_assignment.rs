//! Which provider ONNX Runtime gave each node of a session to.

use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char},
    fmt,
    path::Path,
    ptr,
};

use libloading::Library;
use ort::{AsPointer, session::Session, sys};

/// First version of ONNX Runtime's interface that reports it.
const VERSION: u32 = 24;

/// Name of the provider that ONNX Runtime gives nodes to that no other takes.
const CPU: &str = "CPUExecutionProvider";

/// Name of TensorRT's.
const TENSORRT: &str = "TensorrtExecutionProvider";

/// How many nodes a message names.
const NAMED: usize = 6;

/// Which nodes of a session each provider has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeAssignment {
    /// Nodes by the name of their provider, as `Operator name`. What a provider fused into one node is listed as the nodes
    /// that it was.
    pub(super) nodes: BTreeMap<String, Vec<String>>,
}

impl fmt::Display for NodeAssignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: Vec<_> = self
            .nodes
            .iter()
            .map(|(provider, nodes)| (provider, nodes.len()))
            .collect();
        counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        for (at, (provider, count)) in counts.into_iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{count} nodes by {provider}")?;
        }
        Ok(())
    }
}

/// The functions of version 24 in use. `ort` is built for version 23, so that older libraries work too, and does not
/// have them. The table only ever grows at its end.
#[repr(C)]
struct Api {
    until_23: sys::OrtApi,
    others: [Unused; 17],
    assignment: unsafe extern "system" fn(
        *const sys::OrtSession,
        *mut *const *const Subgraph,
        *mut usize,
    ) -> sys::OrtStatusPtr,
    provider: unsafe extern "system" fn(*const Subgraph, *mut *const c_char) -> sys::OrtStatusPtr,
    nodes: unsafe extern "system" fn(
        *const Subgraph,
        *mut *const *const Node,
        *mut usize,
    ) -> sys::OrtStatusPtr,
    name: unsafe extern "system" fn(*const Node, *mut *const c_char) -> sys::OrtStatusPtr,
    domain: Unused,
    operator: unsafe extern "system" fn(*const Node, *mut *const c_char) -> sys::OrtStatusPtr,
}

type Unused = unsafe extern "system" fn();

// The functions that version 23 has. Were `ort` built for another version, those after them would be elsewhere.
const _: () = assert!(size_of::<sys::OrtApi>() == 390 * size_of::<Unused>());

#[repr(C)]
struct Subgraph {
    opaque: [u8; 0],
}

#[repr(C)]
struct Node {
    opaque: [u8; 0],
}

impl NodeAssignment {
    /// Reads it of a session that was built with `session.record_ep_graph_assignment_info`. `None` when ONNX Runtime is
    /// older than 1.24, or has not recorded it.
    #[allow(unsafe_code)]
    pub(super) fn of(session: &Session, library: &Path) -> Option<Self> {
        let api = api(library)?;
        let check = |status: sys::OrtStatusPtr| {
            if status.0.is_null() {
                return Some(());
            }
            // SAFETY: the status is not null, and is released once.
            unsafe { (api.until_23.ReleaseStatus)(status.0) };
            None
        };
        let text = |text: *const c_char| {
            // SAFETY: where it is not null, it is a text of the session's that ends in a zero byte.
            (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy())
        };
        let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (mut subgraphs, mut count) = (ptr::null(), 0);
        // SAFETY: the session is alive, and what is written to is of the types that the function writes. The lists and
        // texts belong to the session and are read while it is borrowed.
        check(unsafe { (api.assignment)(session.ptr(), &raw mut subgraphs, &raw mut count) })?;
        for at in 0..count {
            // SAFETY: the list has `count` entries, as the function that gave it says.
            let subgraph = unsafe { *subgraphs.add(at) };
            let mut provider = ptr::null();
            // SAFETY: an entry of the list is a subgraph of the session, and `provider` a place for a pointer.
            check(unsafe { (api.provider)(subgraph, &raw mut provider) })?;
            let (mut list, mut size): (*const *const Node, usize) = (ptr::null(), 0);
            // SAFETY: as above.
            check(unsafe { (api.nodes)(subgraph, &raw mut list, &raw mut size) })?;
            let of_provider = nodes.entry(text(provider)?.into_owned()).or_default();
            for at in 0..size {
                // SAFETY: the list has `size` entries.
                let node = unsafe { *list.add(at) };
                let (mut operator, mut name) = (ptr::null(), ptr::null());
                // SAFETY: an entry of the list is a node of the session, and the others are places for pointers.
                check(unsafe { (api.operator)(node, &raw mut operator) })?;
                // SAFETY: as above.
                check(unsafe { (api.name)(node, &raw mut name) })?;
                of_provider.push(format!("{} {}", text(operator)?, text(name)?));
            }
        }
        (!nodes.is_empty()).then_some(Self { nodes })
    }

    /// The nodes that no other provider takes, for a message. `None` when there are none.
    pub(super) fn on_cpu(&self) -> Option<String> {
        self.named(|provider| provider == CPU)
    }

    /// The nodes that TensorRT has not taken, for a message. `None` when there are none.
    pub(super) fn besides_tensorrt(&self) -> Option<String> {
        self.named(|provider| provider != TENSORRT)
    }

    fn named(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let of_wanted = self.nodes.iter().filter(|(provider, _)| wanted(provider));
        let nodes: Vec<&str> = of_wanted
            .flat_map(|(_, nodes)| nodes)
            .map(String::as_str)
            .collect();
        let named = nodes[..nodes.len().min(NAMED)].join(", ");
        match nodes.len().saturating_sub(NAMED) {
            _ if nodes.is_empty() => None,
            0 => Some(named),
            others => Some(format!("{named} and {others} others")),
        }
    }
}

#[allow(unsafe_code)]
fn api(library: &Path) -> Option<&'static Api> {
    type GetApiBase = unsafe extern "C" fn() -> *const sys::OrtApiBase;
    // SAFETY: the library is loaded already, so this runs no initialisers; it only gives access to its symbols.
    let library = unsafe { Library::new(library) }.ok()?;
    // SAFETY: the symbol has this type in every version of ONNX Runtime.
    let base = unsafe { library.get::<GetApiBase>(b"OrtGetApiBase") }.ok()?;
    // SAFETY: the function takes nothing and returns a table with static lifetime. `GetApi` returns null where the
    // library is older than the version, and otherwise a table that begins with all functions of that version. The
    // library stays loaded until the process ends (see `OnnxRuntime`).
    unsafe {
        let table = (base().as_ref()?.GetApi)(VERSION);
        table.cast::<Api>().as_ref()
    }
}
