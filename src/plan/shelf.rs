//! Objects of which there are several for each person, kept small. A typed object of Kubernetes takes two to four kilobytes, most of it for maps with a few short
//! words in them; and those of one kind differ in little but names. So each is kept as JSON, compressed with another one of its kind as the dictionary.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::Arc;

use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cluster::Key;

/// Objects by namespace and name, or by another key. Each look at one makes it anew.
pub struct Shelf<K, Q = Key> {
    objects: BTreeMap<Q, Box<[u8]>>,
    /// The first object that there was, as JSON.
    dictionary: Vec<u8>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Serialize + DeserializeOwned, Q: Ord + Clone> Shelf<K, Q> {
    /// The object of that key.
    pub fn get<R: Ord + ?Sized>(&self, key: &R) -> Option<Arc<K>>
    where
        Q: Borrow<R>,
    {
        self.open(self.objects.get(key)?)
    }

    /// Keeps an object, or forgets it. Returns the one before.
    pub fn replace(&mut self, key: &Q, object: Option<&K>) -> Option<Arc<K>> {
        let old = match object.and_then(|object| self.pack(object)) {
            Some(packed) => self.objects.insert(key.clone(), packed),
            None => self.objects.remove(key),
        };
        self.open(&old?)
    }

    /// Whether there is one of that key.
    pub fn contains_key<R: Ord + ?Sized>(&self, key: &R) -> bool
    where
        Q: Borrow<R>,
    {
        self.objects.contains_key(key)
    }

    /// Their keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Q> {
        self.objects.keys()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Q, Arc<K>)> {
        self.objects.iter().filter_map(|(key, packed)| Some((key, self.open(packed)?)))
    }

    /// The object of that key, with the key as it is kept.
    pub fn get_key_value(&self, key: &Q) -> Option<(&Q, Arc<K>)> {
        let (key, packed) = self.objects.get_key_value(key)?;
        Some((key, self.open(packed)?))
    }

    /// The objects, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = Arc<K>> {
        self.iter().map(|(_, object)| object)
    }

    /// Takes no more room than it needs, after much was put in.
    pub fn compact(&mut self) {
        compact(&mut self.objects);
    }

    /// Forgets all but those whose key is wanted.
    pub fn retain(&mut self, wanted: impl Fn(&Q) -> bool) {
        self.objects.retain(|key, _| wanted(key));
    }

    /// What came as JSON goes back to it: there is always one.
    fn pack(&mut self, object: &K) -> Option<Box<[u8]>> {
        let json = serde_json::to_vec(object).ok()?;
        if self.dictionary.is_empty() {
            self.dictionary.clone_from(&json);
        }
        Some(compress_prepend_size_with_dict(&json, &self.dictionary).into())
    }

    fn open(&self, packed: &[u8]) -> Option<Arc<K>> {
        let json = decompress_size_prepended_with_dict(packed, &self.dictionary).ok()?;
        serde_json::from_slice(&json).ok().map(Arc::new)
    }
}

/// Puts a table into as few nodes as it needs: what came in order, as in a list, leaves them half empty.
pub fn compact<Q: Ord, V>(table: &mut BTreeMap<Q, V>) {
    *table = std::mem::take(table).into_iter().collect();
}

impl<K: Serialize + DeserializeOwned> Shelf<K, String> {
    /// The objects whose name begins like that, in order.
    pub fn beginning_with(&self, start: &str) -> impl Iterator<Item = Arc<K>> {
        self.objects
            .range::<str, _>((Bound::Included(start), Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(start))
            .filter_map(|(_, packed)| self.open(packed))
    }
}

impl<K, Q> Default for Shelf<K, Q> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), dictionary: Vec::new(), kind: PhantomData }
    }
}

impl<K, Q: fmt::Debug> fmt::Debug for Shelf<K, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.objects.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn key(number: usize) -> Key {
        (format!("dev-p{number}"), "usher-welcome".to_owned())
    }

    fn map(number: usize) -> ConfigMap {
        let text = format!("Welcome, p{number}! This is what you have, and where: view in 20 namespaces of staging, by Role a.");
        let labels = ["app.kubernetes.io/managed-by", "usher.dev/developer", "usher.dev/environment", "usher.dev/person"];
        let mut map = ConfigMap { data: Some(BTreeMap::from([("welcome.txt".to_owned(), text)])), ..ConfigMap::default() };
        map.metadata.name = Some(key(number).1);
        map.metadata.namespace = Some(key(number).0);
        map.metadata.labels = Some(labels.iter().map(|label| ((*label).to_owned(), format!("p{number}"))).collect());
        map
    }

    #[test]
    fn what_is_kept_is_given_back_as_it_was_and_takes_little() {
        let mut shelf = Shelf::<ConfigMap>::default();
        for number in 0..100 {
            assert_eq!(shelf.replace(&key(number), Some(&map(number))), None);
        }
        for number in 0..100 {
            assert_eq!(shelf.get(&key(number)).as_deref(), Some(&map(number)));
        }
        let sizes: Vec<usize> = shelf.objects.values().map(|packed| packed.len()).collect();
        assert!(sizes.iter().all(|size| *size < 120), "{sizes:?}");
        shelf.compact();
        assert_eq!(shelf.iter().count(), 100);
    }

    #[test]
    fn what_was_kept_first_may_change_and_go() {
        let mut shelf = Shelf::<ConfigMap>::default();
        shelf.replace(&key(0), Some(&map(0)));
        shelf.replace(&key(1), Some(&map(1)));
        assert_eq!(shelf.replace(&key(0), Some(&map(2))).as_deref(), Some(&map(0)));
        assert_eq!(shelf.replace(&key(0), None).as_deref(), Some(&map(2)));
        assert_eq!((shelf.get(&key(0)), shelf.contains_key(&key(0))), (None, false));
        assert_eq!(shelf.get(&key(1)).as_deref(), Some(&map(1)));
    }
}
