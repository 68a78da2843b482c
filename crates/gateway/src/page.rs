//! Parts of lists, with the headers that lead to the next part.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use runloom_api::page::{NEXT, TOTAL};
use runloom_core::search::Page;

/// `page` and one more, which shows whether anything follows without counting it.
pub(crate) fn and_one_more(page: Page) -> Page {
    Page {
        limit: page.limit + 1,
        ..page
    }
}

/// What is known of a list from one part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// This is its last part; it has so many in all.
    Ends(u64),
    /// It must be counted; the next part begins at `next`, if there is one.
    Goes {
        /// Where the next part begins.
        next: Option<u32>,
    },
}

/// Cuts `found`, which was listed with [`and_one_more`], to `page`, and says what follows.
pub(crate) fn cut<T>(found: &mut Vec<T>, page: Page) -> Extent {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    if found.len() > limit {
        found.truncate(limit);
        let next = page.offset.saturating_add(page.limit);
        return Extent::Goes { next: Some(next) };
    }
    if found.is_empty() && page.offset > 0 {
        return Extent::Goes { next: None };
    }
    Extent::Ends(u64::from(page.offset) + found.len() as u64)
}

/// The headers of a part.
pub(crate) fn headers(next: Option<u32>, total: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(TOTAL), HeaderValue::from(total));
    if let Some(next) = next {
        headers.insert(HeaderName::from_static(NEXT), HeaderValue::from(next));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_at(found: usize, offset: u32) -> (usize, Extent) {
        let mut found = vec![(); found];
        let extent = cut(&mut found, Page { limit: 2, offset });
        (found.len(), extent)
    }

    #[test]
    fn only_what_does_not_show_its_end_is_counted() {
        assert_eq!(cut_at(3, 4), (2, Extent::Goes { next: Some(6) }));
        assert_eq!(cut_at(2, 4), (2, Extent::Ends(6)));
        assert_eq!(cut_at(0, 0), (0, Extent::Ends(0)));
        assert_eq!(cut_at(0, 9), (0, Extent::Goes { next: None }));
    }
}
