//! Items in the model.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use async_trait::async_trait;
use runloom_core::database::{DatabaseError, Items};
use runloom_core::item::{Item, ItemSearch, NamespaceSearch};
use runloom_core::json::Json;
use runloom_core::search::Page;

use super::Memory;
use super::state::paged;

#[async_trait]
impl Items for Memory {
    async fn put_item(
        &self,
        namespace: &[String],
        key: &str,
        value: Json,
    ) -> Result<(), DatabaseError> {
        let (mut state, now) = self.begin();
        let place = (namespace.to_vec(), key.to_owned());
        let item = state.items.entry(place).or_insert_with(|| Item {
            namespace: namespace.to_vec(),
            key: key.to_owned(),
            value: Json::null(),
            created_at: now,
            updated_at: now,
        });
        item.value = value;
        item.updated_at = now;
        Ok(())
    }

    async fn item(&self, namespace: &[String], key: &str) -> Result<Option<Item>, DatabaseError> {
        let (state, _) = self.begin();
        let place = (namespace.to_vec(), key.to_owned());
        Ok(state.items.get(&place).cloned())
    }

    async fn delete_item(&self, namespace: &[String], key: &str) -> Result<(), DatabaseError> {
        let (mut state, _) = self.begin();
        state.items.remove(&(namespace.to_vec(), key.to_owned()));
        Ok(())
    }

    async fn search_items(&self, search: &ItemSearch) -> Result<Vec<Item>, DatabaseError> {
        let (state, _) = self.begin();
        let matches = |item: &&Item| search.matches(&item.namespace, &item.value.to_value());
        let mut found: Vec<_> = state.items.values().filter(matches).cloned().collect();
        // The sort is stable: items of the same time stay in the order of namespace and key.
        found.sort_by_key(|item| Reverse(item.updated_at));
        let page = Page {
            limit: search.limit,
            offset: search.offset,
        };
        Ok(paged(found, page))
    }

    async fn namespaces(
        &self,
        search: &NamespaceSearch,
    ) -> Result<Vec<Vec<String>>, DatabaseError> {
        let (state, _) = self.begin();
        let all = state.items.keys().map(|(namespace, _)| namespace);
        let depth = search.max_depth.unwrap_or(usize::MAX);
        let cut = |labels: &Vec<String>| labels.iter().take(depth).cloned().collect();
        let found: BTreeSet<Vec<String>> = all
            .filter(|labels| search.matches(labels))
            .map(cut)
            .collect();
        let page = Page {
            limit: search.limit,
            offset: search.offset,
        };
        Ok(paged(found, page))
    }
}
