//! What was read of the root store, in memory for as long as that is the same. A request names a store and shows a token, so
//! both are asked for all the time, and the root store changes seldom.

use parking_lot::Mutex;

use crate::store::Handle;

/// Made of what the root store holds.
#[derive(Debug)]
pub(super) struct Remembered<T>(Mutex<Option<(u64, T)>>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Remembered<T> {
    /// `None`: it has to be read.
    pub fn get(&self, root: &Handle) -> Option<T> {
        let kept = self.0.lock();
        let (generation, value) = kept.as_ref()?;
        (*generation == root.generation()).then(|| value.clone())
    }

    /// As it is kept, or as `read` gives it now.
    pub fn get_or<E>(&self, root: &Handle, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if let Some(value) = self.get(root) {
            return Ok(value);
        }
        // IMPORTANT: asked before it is read. What changes meanwhile has another generation, and is read again.
        let generation = root.generation();
        let value = read()?;
        *self.0.lock() = Some((generation, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use crate::node::Node;

    #[test]
    fn what_is_remembered_of_the_stores_ends_with_the_next_change() {
        let dir = tempfile::tempdir().expect("a directory");
        Node::init(&dir.path().join("data")).expect("initialised");
        let node = Node::open(&dir.path().join("data")).expect("opened");
        let store = node.create_store("one").expect("a store");
        let found = |name: &str| node.find(name).ok().map(|found| found.id());
        let now = |spec: &str| node.find_now(spec).map(|found| found.id());
        assert_eq!(found("one"), Some(store.id()));
        assert_eq!((now("one"), now("other")), (Some(store.id()), None));
        assert!(node.remembers_stores());
        node.rename_store(store.id(), "two").expect("renamed");
        assert!(!node.remembers_stores());
        assert_eq!((now("one"), now("two"), now(&store.id().to_string())), (None, None, Some(store.id())));
        assert_eq!((found("one"), found("two")), (None, Some(store.id())));
        node.delete_store(store.id()).expect("deleted");
        assert_eq!((found("two"), now(&store.id().to_string())), (None, None));
    }
}
