//! Which checkpoints a thread can do without.

use std::collections::{HashMap, HashSet};

use crate::ids::CheckpointId;
use crate::json::JsonMap;

/// In a checkpoint's metadata: channels whose values are not stored with it, but rebuilt from the
/// writes beside its ancestors, back to one where all of them are stored.
const REBUILT: &str = "counters_since_delta_snapshot";

/// A checkpoint, as far as pruning looks at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Its namespace.
    pub ns: String,
    /// Its id.
    pub id: CheckpointId,
    /// The checkpoint it was built upon.
    pub parent: Option<CheckpointId>,
    /// Whether values of it are rebuilt from its ancestors.
    pub is_rebuilt: bool,
}

impl Link {
    /// The link of a checkpoint with this metadata.
    pub fn new(
        ns: String,
        id: CheckpointId,
        parent: Option<CheckpointId>,
        metadata: &JsonMap,
    ) -> Self {
        let counters = metadata
            .get(REBUILT)
            .and_then(|counters| counters.as_object());
        Self {
            ns,
            id,
            parent,
            is_rebuilt: counters.is_some_and(|counters| !counters.is_empty()),
        }
    }
}

/// The checkpoints of a thread that can go: all but the latest of each namespace and the ancestors
/// that its values are rebuilt from.
pub fn superfluous(links: &[Link]) -> Vec<&Link> {
    let by_place: HashMap<_, _> = links
        .iter()
        .map(|link| ((&link.ns, &link.id), link))
        .collect();
    let mut latest: HashMap<&str, &Link> = HashMap::new();
    for link in links {
        let known = latest.entry(&link.ns).or_insert(link);
        if known.id < link.id {
            *known = link;
        }
    }
    let mut kept = HashSet::new();
    for link in latest.into_values() {
        let mut next = Some(link);
        while let Some(link) = next {
            kept.insert((&link.ns, &link.id));
            let parent = link.parent.as_ref().filter(|_| link.is_rebuilt);
            next = parent.and_then(|parent| by_place.get(&(&link.ns, parent)).copied());
        }
    }
    let can_go = |link: &&Link| !kept.contains(&(&link.ns, &link.id));
    links.iter().filter(can_go).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(number: u32) -> CheckpointId {
        CheckpointId(format!("1f{number:04}"))
    }

    /// Checkpoints built upon each other from 0 on; those named are rebuilt.
    fn chain(ns: &str, length: u32, rebuilt: &[u32]) -> Vec<Link> {
        let link = |number: u32| Link {
            ns: ns.to_owned(),
            id: id(number),
            parent: number.checked_sub(1).map(id),
            is_rebuilt: rebuilt.contains(&number),
        };
        (0..length).map(link).collect()
    }

    fn ids<'a>(links: &[&'a Link]) -> Vec<(&'a str, &'a str)> {
        let name = |link: &&'a Link| (link.ns.as_str(), link.id.0.as_str());
        links.iter().map(name).collect()
    }

    #[test]
    fn the_latest_of_each_namespace_stays() {
        let links = [chain("", 3, &[]), chain("child:1", 2, &[])].concat();
        assert_eq!(
            ids(&superfluous(&links)),
            [("", "1f0000"), ("", "1f0001"), ("child:1", "1f0000")]
        );
        assert!(superfluous(&[]).is_empty());
    }

    #[test]
    fn what_values_are_rebuilt_from_stays() {
        let links = chain("", 6, &[1, 4, 5]);
        assert_eq!(
            ids(&superfluous(&links)),
            [("", "1f0000"), ("", "1f0001"), ("", "1f0002")]
        );
    }

    #[test]
    fn a_parent_that_is_gone_ends_the_chain() {
        let links = chain("", 6, &[4, 5]).split_off(5);
        assert!(superfluous(&links).is_empty());
    }

    #[test]
    fn metadata_tell_what_is_rebuilt() {
        let is_rebuilt = |metadata: serde_json::Value| {
            let metadata = metadata.as_object().unwrap();
            Link::new(String::new(), id(1), None, metadata).is_rebuilt
        };
        assert!(is_rebuilt(
            json!({"counters_since_delta_snapshot": {"messages": [1, 2]}})
        ));
        assert!(!is_rebuilt(json!({"counters_since_delta_snapshot": {}})));
        assert!(!is_rebuilt(json!({"step": 1})));
    }
}
